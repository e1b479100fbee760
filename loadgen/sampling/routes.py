"""Whether a namespace has a way to the ends of a connection: RTM_GETROUTE, rtnetlink(7).

A packet that finds no route is counted (OutNoRoutes, InNoRoutes), but one that meets a `blackhole`,
`prohibit` or `unreachable` route is not: it looks as if a firewall had taken it. So the routing table
itself is asked, as `ip route get` does; that costs some 10 µs an address.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from loadgen.metrics import ROUTES
from loadgen.sampling.files import within
from loadgen.sampling.sources import SLOW_EVERY
from loadgen.summary import Number

MOST_ENDS: Final = 16
"""Addresses that are asked for at most, each time."""

_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_RTA_DST, _RTA_PREFSRC = 1, 7
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_PATIENCE = struct.pack("@ll", 1, 0)
_TYPES: Final = {6: "routes_blackhole", 7: "routes_unreachable", 8: "routes_prohibit"}
_ERRORS: Final = {
    errno.ENETUNREACH: "routes_missing",
    errno.EINVAL: "routes_blackhole",
    errno.EHOSTUNREACH: "routes_unreachable",
    errno.EACCES: "routes_prohibit",
}
"""What the kernel's refusal means: `fib_props` in net/ipv4/fib_semantics.c."""


@dataclass(frozen=True, slots=True)
class Way:
    """What the routing table says of one address."""

    lacks: str = ""
    """The metric that counts such an address; empty where there is a way."""
    source: str = ""
    """The address that a connection to it would come from, where the table says so."""


def request(address: str, sequence: int) -> bytes:
    """Return the question for the way to an address."""
    parsed = ipaddress.ip_address(address)
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, parsed.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(parsed.packed), _RTA_DST) + parsed.packed
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, _RTM_GETROUTE, _NLM_F_REQUEST, sequence, 0) + body


def parse(answer: bytes) -> Way | None:
    """Return what the kernel answered; None for what says nothing of a route."""
    if len(answer) < _HEADER.size + 4:
        return None
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        lacks = _ERRORS.get(-code)
        return None if lacks is None else Way(lacks)
    if kind != _RTM_NEWROUTE or len(answer) < _HEADER.size + _ROUTE.size:
        return None
    family, *_, route_type, _ = _ROUTE.unpack_from(answer, _HEADER.size)
    return Way(_TYPES.get(route_type, ""), _source(answer, family))


def _source(answer: bytes, family: int) -> str:
    at = _HEADER.size + _ROUTE.size
    while at + _ATTRIBUTE.size <= len(answer):
        length, kind = _ATTRIBUTE.unpack_from(answer, at)
        if length < _ATTRIBUTE.size:
            return ""
        if kind == _RTA_PREFSRC:
            packed = answer[at + _ATTRIBUTE.size : at + length]
            wanted = 4 if family == socket.AF_INET else 16
            return socket.inet_ntop(family, packed) if len(packed) == wanted else ""
        at += (length + 3) & ~3
    return ""


class RouteSocket:
    """A netlink socket to the routing tables of the namespace that it was opened in."""

    def __init__(self) -> None:
        """Open it in the calling thread's namespace.

        Raises:
            OSError: when the kernel refuses.
        """
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        self._sequence = 0

    def ask(self, address: str) -> Way | None:
        """Return the way to an address, None where the kernel does not say.

        Raises:
            OSError: when the kernel refuses to talk.
        """
        self._sequence += 1
        self._socket.send(request(address, self._sequence))
        return parse(self._socket.recv(8192))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def source_toward(addresses: Collection[str]) -> list[str]:
    """Return the addresses that connections from this namespace would come from, if it has a way."""
    try:
        asked = RouteSocket()
    except OSError:
        return []
    try:
        ways = [asked.ask(address) for address in list(addresses)[:MOST_ENDS]]
    except OSError:
        return []
    finally:
        asked.close()
    return list(dict.fromkeys(way.source for way in ways if way is not None and way.source))


class RouteReader:
    """Counts the ends of the path that a namespace has no way to, twice a second."""

    def __init__(self, namespace: int | None, ends: Collection[str]) -> None:
        """Open the socket inside `namespace`.

        Args:
            namespace: a descriptor of it, None for one's own; not kept.
            ends: the addresses, not names, of servers and clients.

        Raises:
            NamespaceError: when the namespace may not be entered.
        """
        self.absent: dict[str, str] = {}
        """Metrics that cannot be read here, each with the reason."""
        self._ends = list(dict.fromkeys(ends))[:MOST_ENDS]
        self._due = float("-inf")
        self._socket: RouteSocket | None = None
        try:
            self._socket = within(namespace, RouteSocket)
        except OSError as error:
            self._lack(error)

    def _lack(self, error: OSError) -> None:
        self.absent = {metric.name: f"NETLINK_ROUTE: {error.strerror}" for metric in ROUTES}

    def read(self, *, now: float | None = None, force: bool = False) -> dict[str, Number]:
        """Return one reading, empty when the next is not due yet. Never raises."""
        moment = time.monotonic() if now is None else now
        if self._socket is None or not (force or moment >= self._due):
            return {}
        self._due = moment + SLOW_EVERY
        found: dict[str, Number] = {metric.name: 0 for metric in ROUTES}
        try:
            for end in self._ends:
                way = self._socket.ask(end)
                if way is not None and way.lacks:
                    found[way.lacks] += 1
        except OSError as error:
            self._lack(error)
            return {}
        return found

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
