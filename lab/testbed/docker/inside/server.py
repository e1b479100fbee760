"""A server as a container's program: memcached, or any other of `lab.testbed.servers`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec

from lab.testbed.base import SitePlan, TestbedError, most_connections
from lab.testbed.docker.inside import look
from lab.testbed.docker.orders import Serve, watched
from lab.testbed.servers import BACKLOG, MEMCACHED, kind_of, memcached_tls, require
from loadgen.sample import ROLE_SERVER

PORT: Final = 11211
PORTS: Final = (11211, 11212, 11213)
"""One for each try of a trial: a try on another port meets none of the last one's TIME_WAIT."""
_ANY: Final = "0.0.0.0"  # noqa: S104 - nobody but the trial's containers is on the network
_MEMORY: Final = 64
"""MiB: memcached's own default. 1,000 keys of 100 bytes need less than one."""


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
        *("-l", ",".join(f"{_ANY}:{port}" for port in PORTS), "-U", "0", "-b", str(BACKLOG)),
        *("-t", str(threads), "-c", str(min(connections, most) or most), "-m", str(memory)),
        "-A",  # ends on the text command `shutdown`: how the report shuts the servers down
        *options,
    ]


def serve(arguments: Sequence[str], watched: Path | None, ports: Iterable[int] = PORTS) -> int:
    """Run a server; return its exit code.

    Args:
        arguments: its command line, see `command`.
        watched: where samples of this container's namespace go; None to take none.
        ports: where it listens.
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
            *map(str, ports),
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


def command_of(order: Serve) -> tuple[list[str], Iterable[int]]:
    """Return the command line of the server that was ordered, and its ports.

    Raises:
        TestbedError: when its program is not in this image.
    """
    most = most_connections()
    connections = min(order.connections, most) or most
    plan = SitePlan(
        server=order.server, certificate=order.certificate, memcached_connections=connections
    )
    kind = kind_of(plan)
    try:
        require(kind)
    except TestbedError as error:
        raise TestbedError(
            f"{error.problem} in this image",
            "make one FROM it that has it (docs/docker.md), and give --image",
        ) from None
    # What is written for its start lies in the container's own /tmp, and goes with it.
    stack = ExitStack()
    if order.server != MEMCACHED.name:
        return kind.command(plan, _ANY, stack), [kind.port]
    memcached = command(
        threads=order.threads,
        connections=connections,
        memory=_MEMORY,
        options=(*memcached_tls(plan, stack), *order.options),
    )
    return memcached, PORTS


def role(_: str, arguments: Sequence[str]) -> int:
    """`server ORDER`: note what is in force, and serve.

    A server that was killed and started again is not watched any more: its kernel counts from 0.
    """
    order = msgspec.json.decode(arguments[0], type=Serve)
    words, ports = command_of(order)
    if order.watch:
        look.keep(ROLE_SERVER, order.keys)
    path = watched(ROLE_SERVER)
    return serve(words, path if order.watch and not path.exists() else None, ports)
