"""What a forecast says, and its limits by name. Pure."""

from __future__ import annotations

from typing import Final, Literal

from loadgen.summary import Record

FORECAST_SCHEMA: Final = "churnlab.forecast/1"

LimitName = Literal[
    "port_search_slow",
    "ports_exhausted",
    "conntrack_full",
    "nat_ports_exhausted",
    "time_wait_buckets_full",
    "open_files",
]


class Limit(Record, frozen=True, kw_only=True):
    """One limit that the load runs into."""

    name: LimitName
    rate: float | None
    """Connections per second above which it breaks sooner or later; None where only this load's
    length or shape decides."""
    connections: float
    """Connections started until it breaks."""
    at: float
    """Seconds until it breaks."""
    loses: bool
    """False when connections still succeed: slower, or with less protection."""
    lost_at: float | None = None
    """Seconds until the first connection is lost to it; None when none is."""
    lost_after: float | None = None
    """Connections started until then."""


class TimeWaitForecast(Record, frozen=True, kw_only=True):
    """TIME_WAIT sockets in the long run."""

    side: Literal["client", "server", "nobody"]
    sockets: float
    most: int | None
    """tcp_max_tw_buckets of that side."""
    bytes: float


class TableForecast(Record, frozen=True, kw_only=True):
    """Entries of the one conntrack table that sees the load, in the long run."""

    entries: float
    """At most."""
    most: int | None
    bytes: float
    """Of those entries."""
    most_bytes: float | None
    """Of a full table's entries."""
    table_bytes: int | None
    """Of the hash table itself, which is there from the start."""
    full_rate: float | None
    """Connections per second above which it overflows; None when it never does."""


class PortForecast(Record, frozen=True, kw_only=True):
    """Local ports."""

    pools: int
    usable: int
    """Of each pool."""
    quick: int
    """Of each pool: those that connect() finds without the detour."""
    hold: float
    """Seconds that a connection holds its port."""
    reuse: bool
    """Whether ports are taken out of TIME_WAIT."""
    in_use: float
    """Of each pool, in the long run, at most."""
    quick_rate: float | None
    """Connections per second up to which the search stays quick; None: any."""
    wall_rate: float | None
    """Connections per second above which ports run out; None: never."""
    slow_connect: float
    """Seconds of a connect() beyond the quick ports."""
    slow_rate: float
    """Connections per second when every search is slow."""


class Forecast(Record, frozen=True, kw_only=True):
    """What happens to a load. Rates are connections per second, all addresses together."""

    schema: Literal["churnlab.forecast/1"] = FORECAST_SCHEMA
    rate: float
    duration: float | None
    sustainable_rate: float | None
    """The capacity: the highest rate without a failure or a drop, for `duration` seconds from an
    idle start, or indefinitely when there is none. None: no limit that is known here."""
    bound_by: LimitName | None
    """What breaks above it."""
    settled_rate: float
    """What the asked rate settles at in the long run, if the port search alone decided."""
    ports: PortForecast
    time_wait: TimeWaitForecast
    conntrack: TableForecast | None
    """None when no conntrack table sees the load."""
    in_flight: float
    """Q1. Connections open at once (Little's law: rate x lifetime)."""
    floor_cpus: float
    """Q3. Processors of the client that the kernel's own work takes, at least."""
    accept_pause: float
    """Q2. Seconds that the server may pause before its accept queue overflows."""
    limits: list[Limit]
    """Those that break at this rate within the duration, in order of time."""
    assumed: list[str]
    """Settings that could not be read; the documented default was used."""

    @property
    def first_loss(self) -> Limit | None:
        """The limit that costs the first connection, or None when none is lost."""
        losing = [limit for limit in self.limits if limit.lost_at is not None]
        return min(losing, key=lambda limit: limit.lost_at or 0.0, default=None)

    @property
    def holds(self) -> bool:
        """Whether the load goes through without a loss."""
        return self.first_loss is None
