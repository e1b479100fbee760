"""The forecast: what happens to a load under given settings, and which limit breaks first. Pure."""

from __future__ import annotations

import math
from typing import Final, Literal

from lab.capacity.nat import Mappings
from lab.capacity.ports import Pools, Search, distinct, pools, reuses
from lab.capacity.situation import Load, Settings, Situation
from lab.capacity.tracking import Tracking
from loadgen.search import TIME_WAIT
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

TIME_WAIT_BYTES: Final = 256
"""T2. A TIME_WAIT socket (`tw_sock_TCP` in /proc/slabinfo, 6.18)."""
BOUND_PORT_BYTES: Final = 256
"""T2. More on the client, for the port that it keeps bound: two kmalloc-128, for a bucket by port and,
since 6.1, one by port and address (measured: 12,128 objects for 6,000 connections). A server's
sockets share those of its listening port."""


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


class TimeWait(Record, frozen=True, kw_only=True):
    """TIME_WAIT sockets in the long run."""

    side: Literal["client", "server", "nobody"]
    sockets: float
    most: int | None
    """tcp_max_tw_buckets of that side."""
    bytes: float


class Conntrack(Record, frozen=True, kw_only=True):
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


class PortUse(Record, frozen=True, kw_only=True):
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
    ports: PortUse
    time_wait: TimeWait
    conntrack: Conntrack | None
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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def time_wait_sockets(situation: Situation, t: float | None = None) -> float:
    """Return the TIME_WAIT sockets of the side that closes first, `t` seconds from an idle start (T1).

    Each connection leaves one, for 60 s. A port has at most one at a time: while the quick ports
    suffice the others are never touched, so with reuse the number stops at the quick ports however
    high the rate (measured at 9,000/s with reuse: 14,116). The same holds for the server's, whose
    clients come back with the same ports (measured with --close server and 1,000 ports: 500).
    tcp_max_tw_buckets is the last bound (`inet_twsk_alloc`; measured with a limit of 120).

    Args:
        situation: what to forecast.
        t: None for the long run.
    """
    load, settings = situation.load, situation.settings
    if load.close == "rst":
        return 0.0
    found = pools(situation)
    search = Search(found, load)
    if t is None:
        made = min(load.rate, search.settled_rate) * TIME_WAIT
    else:
        made = search.started(t) - (search.started(t - TIME_WAIT) if t > TIME_WAIT else 0.0)
    ports = found.all_quick if search.slow_at is None else found.all_usable
    if found.hold < TIME_WAIT and search.slow_at is None:
        # The ports of the first moments are all new; later ones may meet those that are free again.
        made = max(
            distinct(made, ports, skips=found.skips),
            min(made, ports, search.started(min(t or math.inf, found.hold))),
        )
    elif found.hold < TIME_WAIT and t is not None:
        # Ports past the quick ones are taken only while every quick one is younger than the delay.
        beyond = max(0.0, min(load.rate, search.settled_rate) - found.quick_rate) * t
        made = min(made, found.all_quick + beyond)
    most = settings.max_time_wait if load.close == "client" else settings.server_max_time_wait
    return min(made, ports, math.inf if most is None else most)


def _time_wait(situation: Situation) -> TimeWait:
    close, settings = situation.load.close, situation.settings
    sockets = time_wait_sockets(situation)
    if close == "rst":
        return TimeWait(side="nobody", sockets=0.0, most=None, bytes=0.0)
    if close == "server":
        return TimeWait(
            side="server",
            sockets=sockets,
            most=settings.server_max_time_wait,
            bytes=sockets * TIME_WAIT_BYTES,
        )
    return TimeWait(
        side="client",
        sockets=sockets,
        most=settings.max_time_wait,
        bytes=sockets * (TIME_WAIT_BYTES + BOUND_PORT_BYTES),
    )


def _holdable(settings: Settings, load: Load) -> float:
    """Return how many ports TIME_WAIT can hold at once: tcp_max_tw_buckets, where it applies (T3).

    Above it the kernel ends a connection without TIME_WAIT and its port is free at once: a low
    value hides the want of ports and drops the protection that TIME_WAIT is for. With reuse or
    without, a port is held by a TIME_WAIT socket, but for the few of connections under way.
    """
    if load.close != "client" or settings.max_time_wait is None:
        return math.inf
    return settings.max_time_wait


def _capped(settings: Settings, load: Load, found: Pools) -> bool:
    """Whether tcp_max_tw_buckets keeps the quick ports from ever being used up (T3)."""
    return _holdable(settings, load) < found.all_quick


def _port_limits(search: Search, *, holdable: float) -> list[Limit]:
    if holdable < search.pools.all_quick:
        return []
    limits = []
    slow_at, late_at, exhausted_at = search.slow_at, search.late_at, search.exhausted_at
    if holdable < search.pools.all_usable:
        # The search turns slow, and never comes to the last port.
        exhausted_at = None
    if slow_at is not None:
        limits.append(
            Limit(
                name="port_search_slow",
                rate=_finite(search.pools.quick_rate),
                connections=search.pools.all_quick,
                at=slow_at,
                loses=late_at is not None,
                lost_at=late_at,
                lost_after=None if late_at is None else search.started(late_at),
            )
        )
    if exhausted_at is not None:
        limits.append(
            Limit(
                name="ports_exhausted",
                rate=_finite(search.pools.wall_rate),
                connections=search.pools.all_usable,
                at=exhausted_at,
                loses=True,
                lost_at=exhausted_at,
                lost_after=search.pools.all_usable,
            )
        )
    return limits


def _time_wait_limit(situation: Situation, search: Search) -> list[Limit]:
    load, settings = situation.load, situation.settings
    client = load.close == "client"
    most = settings.max_time_wait if client else settings.server_max_time_wait
    if load.close == "rst" or most is None:
        return []
    ports = search.pools.all_quick if search.slow_at is None else search.pools.all_usable
    made = min(load.rate, search.settled_rate) * TIME_WAIT
    if min(made, ports) <= most:
        return []
    return [
        Limit(
            name="time_wait_buckets_full",
            rate=most / TIME_WAIT,
            connections=most,
            at=search.time_of(most),
            loses=False,
        )
    ]


def _conntrack_limit(tracking: Tracking, search: Search) -> list[Limit]:
    at, after = tracking.full_at, tracking.full_after
    if at is None or after is None:
        return []
    timeout = search.load.timeout
    return [
        Limit(
            name="conntrack_full",
            rate=_finite(tracking.full_rate),
            connections=after,
            at=at,
            loses=True,
            # The SYN is dropped and repeated; the connection is lost when its time is up.
            lost_at=at + timeout,
            lost_after=search.started(at + timeout),
        )
    ]


def _nat_limit(mappings: Mappings, search: Search) -> list[Limit]:
    at, after = mappings.full_at, mappings.full_after
    if at is None or after is None:
        return []
    timeout = search.load.timeout
    return [
        Limit(
            name="nat_ports_exhausted",
            rate=_finite(mappings.full_rate),
            connections=after,
            at=at,
            loses=True,
            # As at a full table: the SYN is dropped and repeated.
            lost_at=at + timeout,
            lost_after=search.started(at + timeout),
        )
    ]


def _files_limit(load: Load) -> list[Limit]:
    if load.open_files is None or load.rate * load.lifetime <= load.open_files:
        return []
    return [
        Limit(
            name="open_files",
            rate=load.open_files / load.lifetime,
            connections=load.open_files,
            at=load.open_files / load.rate,
            loses=True,
            lost_at=load.open_files / load.rate,
            lost_after=load.open_files,
        )
    ]


def _sustainable(
    load: Load,
    search: Search,
    tracking: Tracking | None,
    mappings: Mappings | None,
    *,
    capped: bool,
) -> tuple[float, LimitName | None]:
    """Return the capacity and what breaks above it."""
    bounds: list[tuple[float, LimitName]] = []
    if not capped:
        found, horizon = search.pools, load.duration
        window = found.hold if horizon is None else min(found.hold, horizon)
        rate = search.sustained(horizon)
        wall = found.all_usable / window if window else math.inf
        bounds.append((rate, "ports_exhausted" if rate >= wall else "port_search_slow"))
    if tracking is not None:
        rate = tracking.full_rate
        if load.duration is not None and math.isfinite(rate):
            rate = max(rate, tracking.room / load.duration)
        bounds.append((rate, "conntrack_full"))
    if mappings is not None:
        rate = mappings.full_rate
        if load.duration is not None and math.isfinite(rate):
            rate = max(rate, mappings.ports / load.duration)
        bounds.append((rate, "nat_ports_exhausted"))
    if load.open_files is not None and load.lifetime:
        bounds.append((load.open_files / load.lifetime, "open_files"))
    rate, name = min(bounds, default=(math.inf, None))
    return rate, name if math.isfinite(rate) else None


def forecast(situation: Situation) -> Forecast:
    """Return what happens to the load under the settings."""
    load, settings = situation.load, situation.settings
    found = pools(situation)
    capped = _capped(settings, load, found)
    search = Search(found, load)
    tracking = Tracking(settings, load, search) if load.tracked else None
    mappings = Mappings(settings, load, situation.kernel, search) if load.nat else None
    limits = [
        *_port_limits(search, holdable=_holdable(settings, load)),
        *_time_wait_limit(situation, search),
        *(_conntrack_limit(tracking, search) if tracking else ()),
        *(_nat_limit(mappings, search) if mappings else ()),
        *_files_limit(load),
    ]
    end = math.inf if load.duration is None else load.duration
    broken = sorted((limit for limit in limits if limit.at < end), key=lambda limit: limit.at)
    rate, name = _sustainable(load, search, tracking, mappings, capped=capped)
    return Forecast(
        rate=load.rate,
        duration=load.duration,
        sustainable_rate=_finite(rate),
        bound_by=name,
        settled_rate=load.rate if capped else min(load.rate, search.settled_rate),
        ports=PortUse(
            pools=found.count,
            usable=found.usable,
            quick=found.quick,
            hold=found.hold,
            reuse=reuses(settings, load),
            in_use=min(load.rate / found.count * found.hold, found.usable),
            quick_rate=_finite(found.quick_rate),
            wall_rate=_finite(found.wall_rate),
            slow_connect=search.slow_connect,
            slow_rate=search.slow_rate,
        ),
        time_wait=_time_wait(situation),
        conntrack=_conntrack(tracking) if tracking else None,
        in_flight=load.rate * load.lifetime,
        floor_cpus=load.rate * load.costs.floor,
        accept_pause=min(settings.somaxconn, load.backlog) / load.rate,
        limits=broken,
        assumed=list(settings.assumed),
    )


def _conntrack(tracking: Tracking) -> Conntrack:
    most = tracking.settings.tracked_most
    return Conntrack(
        entries=tracking.entries,
        most=most,
        bytes=tracking.entries * tracking.entry_bytes,
        most_bytes=None if most is None else most * tracking.entry_bytes,
        table_bytes=tracking.table_bytes,
        full_rate=_finite(tracking.full_rate),
    )
