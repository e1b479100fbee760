"""A real memcached on loopback, started and ended by the tests."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from loadgen.protocols.sockets import RESET_ON_CLOSE


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def _user() -> str:
    """Return whom memcached is to be when we are root, which it refuses to be unasked.

    In a user namespace of one's own there is nobody but root (user_namespaces(7)).
    """
    inside, outside, count = Path("/proc/self/uid_map").read_text().split()[:3]
    return "nobody" if int(count) > 65_534 and (inside, outside) == ("0", "0") else "root"


class Memcached:
    """One memcached process; a context manager.

    Args:
        options: further options of its command line.
    """

    def __init__(self, *options: str) -> None:
        self._secure = "-Z" in options
        self.address = ("127.0.0.1", free_port())
        user = ("-u", _user()) if os.geteuid() == 0 else ()
        self._command = [
            *("memcached", *user, "-l", self.address[0], "-p", str(self.address[1])),
            *("-U", "0", "-t", "2", "-c", "4096", *options),
        ]

    @property
    def target(self) -> str:
        """HOST:PORT, as a user writes it."""
        return f"{self.address[0]}:{self.address[1]}"

    def __enter__(self) -> Self:
        """Start it, and wait until it accepts connections."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up and self._process.poll() is None:
            with suppress(ConnectionRefusedError):
                if self._secure:
                    self._connect().close()
                else:
                    self.statistics()  # an answer, so that this connection is not counted later
                return self
            time.sleep(0.01)  # between two tries to connect; the loop ends on the answer
        self._process.kill()
        self._process.wait()
        raise RuntimeError(f"{' '.join(self._command)} does not accept connections")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.kill()  # SIGTERM is only seen at the next tick of its clock, after a second
        self._process.wait()

    def _connect(self) -> socket.socket:
        """Return a connection that ends with a reset, which leaves no TIME_WAIT socket behind."""
        sock = socket.create_connection(self.address)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        return sock

    def statistics(self) -> dict[str, int]:
        """Return the whole numbers among `stats`."""
        with self._connect() as sock, sock.makefile("rb") as lines:
            sock.sendall(b"stats\r\n")
            found = {}
            for line in lines:
                if line == b"END\r\n":
                    break
                _, name, value = line.decode().split(maxsplit=2)
                if value.strip().isdigit():
                    found[name] = int(value)
        return found
