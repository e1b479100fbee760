"""What a forecast depends on: the settings in force, the kernel, the topology and the load. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.values import integers, ports
from loadgen.config import CloseMode
from loadgen.search import CapacityError, Costs, Kernel

RANGE: Final = "net.ipv4.ip_local_port_range"
RESERVED: Final = "net.ipv4.ip_local_reserved_ports"
REUSE: Final = "net.ipv4.tcp_tw_reuse"
REUSE_DELAY: Final = "net.ipv4.tcp_tw_reuse_delay"
TIMESTAMPS: Final = "net.ipv4.tcp_timestamps"
MAX_TIME_WAIT: Final = "net.ipv4.tcp_max_tw_buckets"
SOMAXCONN: Final = "net.core.somaxconn"
TRACKED_MOST: Final = "net.netfilter.nf_conntrack_max"
TRACKED_BUCKETS: Final = "net.netfilter.nf_conntrack_buckets"
TRACKED_ACCOUNTING: Final = "net.netfilter.nf_conntrack_acct"
TRACKED_TIME_WAIT: Final = "net.netfilter.nf_conntrack_tcp_timeout_time_wait"
TRACKED_CLOSE: Final = "net.netfilter.nf_conntrack_tcp_timeout_close"

KEYS: Final = (
    RANGE, RESERVED, REUSE, REUSE_DELAY, TIMESTAMPS, MAX_TIME_WAIT, SOMAXCONN,
    TRACKED_MOST, TRACKED_BUCKETS, TRACKED_ACCOUNTING, TRACKED_TIME_WAIT, TRACKED_CLOSE,
)  # fmt: skip
"""The sysctls that a forecast reads."""


_CLOSE_NOTIFY: Final = frozenset({"memcached", "redis"})
"""Servers, by protocol, that answer a client's FIN over TLS with a close_notify of their own."""


def close_seen(close: CloseMode, protocol: str, *, tls: bool) -> CloseMode:
    """Return how the kernel sees connections end that are closed so.

    A close_notify that meets a closed socket is answered with a RST, and no TIME_WAIT is left
    (RFC 9293, 3.10.7; measured in docs/protocols.md).
    """
    return "rst" if close == "client" and tls and protocol in _CLOSE_NOTIFY else close


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings in force, as numbers. Defaults are those of a fresh namespace of 6.18."""

    ports: tuple[int, int] = (32_768, 60_999)
    """First and last, both included."""
    reserved: tuple[tuple[int, int], ...] = ()
    """Inclusive spans that connect() leaves out."""
    reuse: int = 2
    """tcp_tw_reuse: 0 never, 1 always, 2 on loopback."""
    reuse_delay: float = 1.0
    """Seconds in TIME_WAIT before a port may be reused. Kernels before 6.14 compare whole seconds:
    what one second used, the next may use, so that 1 s is the bound there too."""
    timestamps: bool = True
    """On both ends: reuse tells old segments from new ones by them."""
    max_time_wait: int | None = None
    """tcp_max_tw_buckets of the client; None when it is not known."""
    server_max_time_wait: int | None = None
    somaxconn: int = 4096
    """Of the server."""
    tracked_most: int | None = None
    """nf_conntrack_max; None when conntrack is not loaded or not readable."""
    tracked_buckets: int | None = None
    accounting: bool = False
    tracked_time_wait: float = 120.0
    """Seconds that conntrack keeps a connection after its last FIN."""
    tracked_close: float = 10.0
    """Seconds that conntrack keeps a connection after a RST."""
    assumed: tuple[str, ...] = ()
    """Keys that could not be read; the documented default stands in for them."""

    def __post_init__(self) -> None:
        low, high = self.ports
        if not 0 < low <= high <= 65_535:
            raise CapacityError(
                f"{RANGE} = {low} {high} is not a range of ports within 1 to 65535", key=RANGE
            )
        if self.reuse not in {0, 1, 2}:
            raise CapacityError(f"{REUSE} = {self.reuse}: the kernel takes 0, 1 and 2", key=REUSE)
        if self.reuse_delay <= 0:
            raise CapacityError(
                f"{REUSE_DELAY}: {self.reuse_delay} s is not above 0", key=REUSE_DELAY
            )

    @classmethod
    def of(
        cls,
        client: Mapping[str, str],
        server: Mapping[str, str] | None = None,
        table: Mapping[str, str] | None = None,
    ) -> Settings:
        """Read the settings from sysctls by dotted key, as `lab.sysctl.apply.read_sysctls` gives them.

        Args:
            client: of the namespace that calls connect().
            server: of the one that listens; the client's where there is none.
            table: of the one whose conntrack table sees the load, a NAT's for instance; the server's
                where there is none, for the tables are of the same size everywhere on a host.

        Raises:
            CapacityError: for a value that is not a number, or that no kernel would have.
        """
        remote = client if server is None else server
        tracker = remote if table is None else table
        assumed: list[str] = []

        def numbers(source: Mapping[str, str], key: str) -> tuple[int, ...] | None:
            if key in source:
                found = integers(source[key])
                if found is None:
                    raise CapacityError(f"{key} = {source[key]!r} is not a whole number", key=key)
                return found
            default = CATALOGUE[key].default
            if not default:
                return None
            if CATALOGUE[key].since != "6.14" and not key.startswith("net.netfilter."):
                assumed.append(key)
            return integers(default)

        def number(source: Mapping[str, str], key: str) -> int | None:
            found = numbers(source, key)
            return None if found is None else found[0]

        span = numbers(client, RANGE)
        reserved = ports(client.get(RESERVED, ""))
        if span is None or len(span) != 2:
            raise CapacityError(f"{RANGE} = {client.get(RANGE)!r} is not two ports", key=RANGE)
        if reserved is None:
            raise CapacityError(
                f"{RESERVED} = {client[RESERVED]!r} is not a list of ports", key=RESERVED
            )
        stamps = number(client, TIMESTAMPS), number(remote, TIMESTAMPS)
        return cls(
            ports=(span[0], span[1]),
            reserved=reserved,
            reuse=number(client, REUSE) or 0,
            reuse_delay=(number(client, REUSE_DELAY) or 1000) / 1000,
            timestamps=all(stamps),
            max_time_wait=number(client, MAX_TIME_WAIT),
            server_max_time_wait=number(remote, MAX_TIME_WAIT),
            somaxconn=number(remote, SOMAXCONN) or 0,
            tracked_most=number(tracker, TRACKED_MOST),
            tracked_buckets=number(tracker, TRACKED_BUCKETS),
            accounting=bool(number(tracker, TRACKED_ACCOUNTING)),
            tracked_time_wait=number(tracker, TRACKED_TIME_WAIT) or 0,
            tracked_close=number(tracker, TRACKED_CLOSE) or 0,
            assumed=tuple(dict.fromkeys(assumed)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of the kernel.

    Raises:
        CapacityError: for a number out of range.
    """

    rate: float
    """Connections per second, all addresses together; above 0."""
    duration: float | None = None
    """Seconds, from an idle start; None for a load that never ends."""
    close: CloseMode = "client"
    sources: int = 1
    """Addresses that the client connects from."""
    destinations: int = 1
    """Pairs of server address and port. The rate is spread evenly over sources and destinations."""
    loopback: bool = False
    """Through lo or 127.0.0.0/8, where tcp_tw_reuse = 2 reuses too."""
    local_port_range: tuple[int, int] | None = None
    """What the program sets as IP_LOCAL_PORT_RANGE on its sockets."""
    bind_early: bool = False
    """bind(address, 0) without IP_BIND_ADDRESS_NO_PORT before connect()."""
    rtt: float = 0.0005
    """Seconds there and back."""
    service: float = 0.0001
    """Seconds that the server takes for the requests of one connection."""
    tolerance: float = 0.1
    """Seconds that a connection may start late before it counts as lost."""
    timeout: float = 3.0
    """Seconds after which an attempt without an answer counts as failed."""
    tracked: bool = False
    """Whether one conntrack table sees all of the connections."""
    tracked_before: int = 0
    """Entries in that table before the load begins."""
    nat: bool = False
    """Whether all connections pass one NAT, whose table then is the one that tracks them."""
    nat_addresses: int = 1
    """Addresses that the NAT has toward the destinations."""
    nat_ports: tuple[int, int] | None = None
    """Ports that its rule names; None for the kernel's choice, 1024 to 65535."""
    backlog: int = 1024
    """What the server passes to listen(); memcached's `-b` is 1024 by default."""
    open_files: int | None = None
    """The client's limit of open files; None when it does not matter."""
    costs: Costs = field(default_factory=Costs)

    def __post_init__(self) -> None:
        if not 0 < self.rate < float("inf"):
            raise CapacityError(f"rate: {self.rate:g} is not above 0")
        if self.duration is not None and not self.duration > 0:
            raise CapacityError(f"duration: {self.duration:g} s is not above 0")
        for name in ("sources", "destinations", "nat_addresses"):
            if getattr(self, name) < 1:
                raise CapacityError(f"{name}: {getattr(self, name)} is less than 1")
        for name in ("rtt", "service", "tolerance", "timeout"):
            if getattr(self, name) < 0:
                raise CapacityError(f"{name}: {getattr(self, name):g} s is less than 0")

    @property
    def lifetime(self) -> float:
        """Seconds from SYN to the client's close: one round trip to connect, one to ask."""
        return 2 * self.rtt + self.service


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything a forecast is made from."""

    load: Load
    settings: Settings = field(default_factory=Settings)
    kernel: Kernel = field(default_factory=Kernel)
