"""Where load may go: targets as people write them, and the addresses that are safe to load.

Thousands of connections a second are an attack when they reach the wrong host. Without a word from
the user, load goes only to loopback (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3), to the range set aside
for benchmarks (198.18.0.0/15, RFC 2544), to addresses of this host's own, and to those of the
namespaces that the run names, where the route leads into them (`loadgen.run.route`). Everything else
needs `--allow-target`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DEFAULT_PORT = 11211
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SAFE: tuple[Network, ...] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
    ipaddress.ip_network("198.18.0.0/15"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A host, by name or address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return the form that `parse_target` reads."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


UNIX_SOCKET: Final = (
    "is a Unix socket: it has no ports, no TIME_WAIT and no connection tracking, so none of the limits "
    "that are looked for here exist on it (its own are the listen() backlog and open files); give "
    "HOST:PORT"
)
"""Why a Unix socket is no target, in words that follow its name."""


def _is_socket_path(text: str) -> bool:
    """Whether a target is a path, as servers are given their Unix sockets."""
    return text.startswith(("unix:", "/", "./", "../", "~", "@")) or text.endswith(".sock")


def parse_target(text: str) -> Target:
    """Return the target that HOST, HOST:PORT, [V6] or [V6]:PORT means.

    Raises:
        ValueError: when it is none of these, or the port is not 1 to 65535.
    """
    if _is_socket_path(text):
        raise ValueError(f"{text!r} {UNIX_SOCKET}")
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not a target: write [ADDRESS]:PORT")
        port = rest[1:] or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    elif text.count(":") > 1:
        raise ValueError(f"{text!r}: put an IPv6 address in brackets: [{text}]:{DEFAULT_PORT}")
    if not host or any(character.isspace() for character in host):
        raise ValueError(f"{text!r} is not a target: write HOST:PORT, such as 127.0.0.1:11211")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"{text!r}: the port must be a number from 1 to 65535, not {port!r}")
    return Target(host, int(port))


def _plain(address: str) -> Address:
    """Return the address; the IPv4 address of one that is mapped into IPv6 (RFC 4291, 2.5.5.2)."""
    parsed: Address = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def allowed(address: str, extra: Iterable[Network] = ()) -> bool:
    """Return whether load may go to `address`, given the networks that the user allowed."""
    parsed = _plain(address)
    return any(parsed in network for network in (*SAFE, *extra))


def is_loopback(address: str) -> bool:
    """Return whether `address` never leaves this machine."""
    return _plain(address).is_loopback


def refusal(target: Target, address: str) -> str:
    """Return the line that tells the user why a target is not loaded, and how to allow it."""
    shown = str(target) if target.host == address else f"{target} ({address})"
    return (
        f"target {shown} is outside loopback and 198.18.0.0/15; if the host is yours to load, "
        f"add --allow-target {ipaddress.ip_network(_plain(address))}"
    )
