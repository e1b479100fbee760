"""A memcached server as a container's program."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from lab.testbed.base import most_connections
from lab.testbed.docker.inside import look
from lab.testbed.docker.orders import Serve, watched
from loadgen.sample import ROLE_SERVER

PORT: Final = 11211
PORTS: Final = (11211, 11212, 11213)
"""One for each try of a trial: a try on another port meets none of the last one's TIME_WAIT."""
BACKLOG: Final = 4096
"""memcached's `-b`, see `lab.testbed.servers.BACKLOG`."""


def command(*, threads: int, connections: int, memory: int, options: Sequence[str]) -> list[str]:
    """Return memcached's command line.

    Args:
        threads: `-t`.
        connections: `-c`; 0 for as many as the limit on open files allows, which is also the most.
        memory: `-m`, in MiB.
        options: further ones, which override these.
    """
    most = most_connections()
    return [
        "memcached",
        *("-l", ",".join(f"0.0.0.0:{port}" for port in PORTS), "-U", "0", "-b", str(BACKLOG)),
        *("-t", str(threads), "-c", str(min(connections, most) or most), "-m", str(memory)),
        "-A",  # ends on the text command `shutdown`: how the report shuts the servers down
        *options,
    ]


def serve(arguments: Sequence[str], watched: Path | None) -> int:
    """Run memcached; return its exit code.

    Args:
        arguments: memcached's command line, see `command`.
        watched: where samples of this container's namespace go; None to take none.
    """
    if watched is None:
        os.execvp(arguments[0], list(arguments))  # noqa: S606 - no shell is wanted
    watcher = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "lab.testbed.docker.inside",
            "watch",
            ROLE_SERVER,
            str(watched),
            *map(str, PORTS),
        ]
    )
    server = subprocess.Popen(list(arguments))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.terminate())
    code = server.wait()
    watcher.terminate()
    watcher.wait()
    return max(0, code)


def shut_down(address: str) -> None:
    """Tell a server to end; one that has ended already is fine."""
    with suppress(OSError), socket.create_connection((address, PORT), timeout=2) as connection:
        connection.sendall(b"shutdown\r\n")
        connection.recv(64)


def role(_: str, arguments: Sequence[str]) -> int:
    """`memcached ORDER`: note what is in force, and serve.

    A server that was killed and started again is not watched any more: its kernel counts from 0.
    """
    order = msgspec.json.decode(arguments[0], type=Serve)
    if order.watch:
        look.keep(ROLE_SERVER, order.keys)
    path = watched(ROLE_SERVER)
    return serve(
        command(
            threads=order.threads,
            connections=order.connections,
            memory=_MEMORY,
            options=order.options,
        ),
        path if order.watch and not path.exists() else None,
    )


_MEMORY: Final = 64
"""MiB: memcached's own default. 1,000 keys of 100 bytes need less than one."""
