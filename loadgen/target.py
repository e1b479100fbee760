"""Where load may go: targets as people write them, and the addresses that are safe to load.

Thousands of connections a second are an attack when they reach the wrong host. Without a word from
the user, load goes only to loopback (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3), to the range set aside
for benchmarks (198.18.0.0/15, RFC 2544), to addresses of this host's own, and to those of the
namespaces that the run names, where the route leads into them (`loadgen.run.route`). Everything else
needs `--allow-target`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple
from urllib.parse import unquote

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SAFE: tuple[Network, ...] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
    ipaddress.ip_network("198.18.0.0/15"),
)


class Scheme(NamedTuple):
    """What the beginning of a URL stands for."""

    protocol: str
    """A name of `loadgen.protocols.PROTOCOLS`."""
    port: int | None
    """Where none is written; None where one must be."""
    secure: str = ""
    """The scheme of the same with TLS; empty where this is it."""

    @property
    def tls(self) -> bool:
        """Whether it is spoken over TLS."""
        return not self.secure


SCHEMES: Final[dict[str, Scheme]] = {
    "memcached": Scheme("memcached", 11211, "memcacheds"),
    "memcacheds": Scheme("memcached", 11211),
    "redis": Scheme("redis", 6379, "rediss"),
    "rediss": Scheme("redis", 6379),
    "http": Scheme("http", 80, "https"),
    "https": Scheme("http", 443),
    "tcp": Scheme("tcp", None, "tls"),
    "tls": Scheme("tcp", None),
}
DEFAULT_SCHEME: Final = "memcached"
"""Of a plain HOST:PORT."""
_ENDS = re.compile("[/?#]")
_PATH = re.compile(r"/[!-~]{0,8000}")  # of visible ASCII characters, as RFC 3986 wants them


class Credentials(NamedTuple):
    """What a server wants to know of its clients. It is in no file that a run leaves behind."""

    user: str
    """Empty where the protocol needs none."""
    password: str


@dataclass(frozen=True, slots=True)
class Target:
    """A host, by name or address, a TCP port, and what is spoken there."""

    host: str
    port: int
    scheme: str = DEFAULT_SCHEME
    """A key of `SCHEMES`."""
    path: str = ""
    """With its query, of an http URL; empty for the root."""
    credentials: Credentials | None = field(default=None, repr=False, compare=False)

    @property
    def protocol(self) -> str:
        """What is spoken there."""
        return SCHEMES[self.scheme].protocol

    @property
    def tls(self) -> bool:
        """Whether it is spoken over TLS."""
        return SCHEMES[self.scheme].tls

    def secured(self) -> Target:
        """Return the same target with TLS; on TLS's usual port where this is on the usual one."""
        scheme = SCHEMES[self.scheme].secure or self.scheme
        usual = self.port == SCHEMES[self.scheme].port
        return replace(
            self, scheme=scheme, port=(SCHEMES[scheme].port or self.port) if usual else self.port
        )

    @property
    def authority(self) -> str:
        """Host and port as a URL has them, the scheme's own port left out (RFC 3986, 3.2)."""
        if self.port == SCHEMES[self.scheme].port:
            return bracketed(self.host)
        return endpoint(self.host, self.port)

    def __str__(self) -> str:
        """Return a form that `parse_target` reads, without the credentials."""
        place = endpoint(self.host, self.port)
        return place if self.scheme == DEFAULT_SCHEME else f"{self.scheme}://{place}{self.path}"


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
    """Return the target that HOST, HOST:PORT, [V6] or [V6]:PORT means, or a URL of `SCHEMES`.

    Raises:
        ValueError: when it is none of these, or the port is not 1 to 65535. The message holds no
            password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        if _is_socket_path(text):
            raise ValueError(f"{text!r} {UNIX_SOCKET}")
        return Target(*_host_and_port(text, text, SCHEMES[DEFAULT_SCHEME].port))
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(f"{scheme}:// is not spoken here; known are {known}")
    end = found.start() if (found := _ENDS.search(rest)) else len(rest)
    authority, path = rest[:end], rest[end:]
    user_info, at, place = authority.rpartition("@")
    shown = f"{scheme}://{place}{path}"
    host, port = _host_and_port(shown, place, SCHEMES[scheme].port)
    return Target(
        host, port, scheme, _path(scheme, path, shown), _credentials(user_info) if at else None
    )


def _host_and_port(text: str, place: str, default: int | None) -> tuple[str, int]:
    """Return host and port of `place`; `text` is what the user wrote, for messages."""
    host, port = place, "" if default is None else str(default)
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not a target: write [ADDRESS]:PORT")
        port = rest[1:] or port
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    elif place.count(":") > 1:
        raise ValueError(f"{text!r}: put an IPv6 address in brackets: [{place}]:{port or 'PORT'}")
    if not host or any(character.isspace() for character in host):
        raise ValueError(f"{text!r} is not a target: write HOST:PORT, such as 127.0.0.1:11211")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(f"{text!r}: the port must be a number from 1 to 65535, not {port!r}")
    return host, int(port)


def is_path(text: str) -> bool:
    """Return whether `text` is a path that a request can have."""
    return bool(_PATH.fullmatch(text))


def _path(scheme: str, path: str, shown: str) -> str:
    if SCHEMES[scheme].protocol != "http":
        if path not in {"", "/", "/0"}:
            raise ValueError(f"{shown!r}: {scheme}:// has no path here; leave out {path!r}")
        return ""
    path = path.partition("#")[0]
    path = f"/{path}" if path.startswith("?") else path
    if path and not is_path(path):
        raise ValueError(f"{shown!r}: write the path in ASCII, other characters as %XX")
    return "" if path == "/" else path


def _credentials(text: str) -> Credentials:
    user, _, password = text.partition(":")
    return Credentials(unquote(user), unquote(password))


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


def bracketed(host: str) -> str:
    """Return a host as it stands before a port: IPv6 in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def endpoint(host: str, port: int) -> str:
    """Return `HOST:PORT`, or `[V6]:PORT`."""
    return f"{bracketed(host)}:{port}"


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
