"""Plain sockets that open, use and close connections, one after the other, in one thread.

The thread that connects also accepts: it holds both ends, so who closes first, and when, is decided
here and not by a race between two processes. The handshake needs no help from it, since the kernel
answers a SYN by itself; what is timed is connect() alone.

Hundreds of connections do for most experiments. Every limit of interest scales with the number of
local ports, so a small range brings the same wall near.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from lab.testbed.ground import Ground, Role
from loadgen.outcome import errno_name
from loadgen.protocols.sockets import (
    IP_BIND_ADDRESS_NO_PORT,
    IP_LOCAL_PORT_RANGE,
    RESET_ON_CLOSE,
    port_range,
)
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER

Close = Literal["client", "server", "rst", "half"]
"""Who sends the first FIN; `rst` resets, `half` closes the client's end and keeps the server's."""
Prepare = Callable[[socket.socket], None]

PORT: Final = 11211
TIMED_OUT: Final = "ETIMEDOUT"
_BACKLOG: Final = 4096


@dataclass(slots=True)
class Burst:
    """The results of a number of connects."""

    opened: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """By the errno's name."""
    connects: list[float] = field(default_factory=list)
    """Seconds that each successful connect() took, in order."""
    ports: list[int] = field(default_factory=list)
    """The local port of each, in the same order."""
    failures: list[float] = field(default_factory=list)
    """Seconds that each failing connect() took."""
    held: list[socket.socket] = field(default_factory=list)
    """Sockets still open: both ends with `hold`, the server's with `half`."""

    def release(self) -> None:
        """Close what is held, with RST, so that no TIME_WAIT socket is left."""
        for end in self.held:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            end.close()
        self.held.clear()


@dataclass(frozen=True, slots=True)
class Service:
    """A listening socket; the side that connects to it accepts from it, too."""

    address: str
    port: int
    listener: socket.socket


def serve(
    ground: Ground, port: int = PORT, *, role: Role = ROLE_SERVER, address: str = ""
) -> Service:
    """Listen at `address` (the server's first) in a side's namespace, until the ground is left."""
    place = address or ground.servers[0]

    def listen() -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((place, port))
        listener.listen(_BACKLOG)
        return listener

    listener = ground.inside(role, listen)
    listener.settimeout(2.0)
    ground.stack.callback(listener.close)
    return Service(place, port, listener)


def burst(
    ground: Ground,
    service: Service,
    count: int,
    *,
    close: Close = "client",
    hold: bool = False,
    prepare: Prepare | None = None,
    patience: float = 2.0,
    pause: float = 0.0,
    until: Callable[[Burst], bool] | None = None,
) -> Burst:
    """Open up to `count` connections one after the other from the client's namespace.

    Args:
        ground: where.
        service: what to connect to; it may listen in the client's own namespace.
        count: how many connects to try.
        close: how each ends.
        hold: keep both ends open instead.
        prepare: called with each socket before it connects; an OSError counts as the connect's.
        patience: seconds that one connect may take before it counts as ETIMEDOUT.
        pause: seconds between two connects.
        until: ends the burst early when it says so.
    """
    done = Burst()
    ground.stack.callback(done.release)

    def body() -> None:
        for _ in range(count):
            _one(service, done, close=close, hold=hold, prepare=prepare, patience=patience)
            if until is not None and until(done):
                break
            if pause:
                time.sleep(pause)

    ground.inside(ROLE_CLIENT, body)
    return done


def _one(
    service: Service,
    done: Burst,
    *,
    close: Close,
    hold: bool,
    prepare: Prepare | None,
    patience: float,
) -> None:
    client = socket.socket()
    client.settimeout(patience)
    started = time.perf_counter()
    try:
        if prepare is not None:
            prepare(client)
        started = time.perf_counter()
        client.connect((service.address, service.port))
    except OSError as error:
        done.failures.append(time.perf_counter() - started)
        # Python's own timeout has no errno; the kernel's comes only after all SYN retries.
        done.errors[errno_name(error.errno) if error.errno else TIMED_OUT] += 1
        client.close()
        return
    done.connects.append(time.perf_counter() - started)
    done.opened += 1
    done.ports.append(client.getsockname()[1])
    server, _ = service.listener.accept()
    server.settimeout(2.0)
    if hold:
        done.held += [client, server]
        return
    _end(client, server, close, done)


def _end(client: socket.socket, server: socket.socket, close: Close, done: Burst) -> None:
    """Close both ends in the order asked for; each waits until it has seen the other's FIN."""
    if close == "rst":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    first, second = (server, client) if close == "server" else (client, server)
    first.close()
    if close == "half":
        done.held.append(second)
        return
    with suppress(OSError):  # ECONNRESET after a RST
        second.recv(1)
    second.close()


def bind_early(address: str) -> Prepare:
    """Return a `Prepare` that binds to an address and so takes a port before connect()."""
    return lambda client: client.bind((address, 0))


def bind_late(address: str) -> Prepare:
    """Return a `Prepare` that binds to an address and leaves the port to connect() (ip(7))."""

    def prepare(client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((address, 0))

    return prepare


def local_port_range(low: int, high: int) -> Prepare:
    """Return a `Prepare` that gives the socket a range of its own (IP_LOCAL_PORT_RANGE, 6.3)."""
    packed = port_range(low, high)
    return lambda client: client.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, packed)
