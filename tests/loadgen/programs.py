"""Real servers on loopback, started and ended by the tests: Redis and nginx.

`tests.loadgen.memcached` has the third.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.loadgen.memcached import free_port

_PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))


def program(name: str) -> str:
    """Return a program's path; skip the test, with the reason, where it is not installed."""
    found = shutil.which(name, path=_PLACES)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Program:
    """One server process in a directory of its own; a context manager."""

    def __init__(self) -> None:
        self.address = ("127.0.0.1", free_port())
        self.directory = Path(tempfile.mkdtemp(prefix="churnlab-test-"))

    @property
    def place(self) -> str:
        """HOST:PORT."""
        return f"{self.address[0]}:{self.address[1]}"

    def command(self) -> Sequence[str]:
        """Return the command line, after writing what files it needs."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start it, and wait until it accepts connections."""
        output = (self.directory / "output").open("wb")
        with output:
            self.process = subprocess.Popen(self.command(), stdout=output, stderr=output)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up and self.process.poll() is None:
            with suppress(OSError), socket.create_connection(self.address):
                return self
            time.sleep(0.01)  # between two tries to connect; the loop ends on the answer
        said = (self.directory / "output").read_text(errors="replace")
        self.__exit__(None, None, None)
        raise RuntimeError(f"{self.command()[0]} does not accept connections: {said}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, and remove its directory."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)


class Redis(Program):
    """A Redis that keeps nothing.

    Args:
        options: further options of its command line.
        tls: the files of its certificate and key, if it speaks TLS and nothing else.
    """

    def __init__(self, *options: str, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__()
        self._options = options
        self._tls = tls

    def command(self) -> Sequence[str]:
        """Return the command line."""
        host, port = self.address
        port_options = ["--port", str(port)]
        if self._tls is not None:
            certificate, key = map(str, self._tls)
            port_options = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
            port_options += ["--tls-cert-file", certificate, "--tls-key-file", key]
            port_options += ["--tls-ca-cert-file", certificate]
        return [
            *(program("redis-server"), "--bind", host, *port_options),
            *("--save", "", "--appendonly", "no", "--dir", str(self.directory)),
            *("--tcp-backlog", "511", *self._options),
        ]


_NGINX = """
daemon off; master_process off; pid {directory}/pid; error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
    access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};
    fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
    {certificate}
    server {{
        listen {place} {tls} backlog=4096;
        location / {{ return 200 "hello"; }}
        location /missing {{ return 404; }}
        location /busy {{ return 503; }}
        location /private {{ return 401; }}
        location /moved {{ return 302 /; }}
        location /large {{ alias {directory}/large; }}
        location /status {{ stub_status; }}
    }}
}}
"""
LARGE = 300_000


class Nginx(Program):
    """An nginx of one process; its paths are named for what they answer.

    Args:
        connections: worker_connections.
        tls: the files of its certificate and key, if it speaks TLS.
    """

    def __init__(self, *, connections: int = 4096, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__()
        self._connections = connections
        self._tls = tls

    def command(self) -> Sequence[str]:
        """Return the command line, after writing its configuration and a large file."""
        (self.directory / "large").write_bytes(bytes(LARGE))
        # It drops root's rights only with a master process; so the file may be anybody's.
        configuration = self.directory / "nginx.conf"
        configuration.write_text(
            _NGINX.format(
                directory=self.directory,
                place=self.place,
                connections=self._connections,
                tls="ssl" if self._tls else "",
                certificate="ssl_certificate {}; ssl_certificate_key {};".format(*self._tls)
                if self._tls
                else "",
            )
        )
        return [program("nginx"), "-c", str(configuration)]
