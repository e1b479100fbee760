"""The forecast: what happens to a load under given settings, and which limit breaks first. Pure."""

from __future__ import annotations

import math
from typing import Final

from lab.capacity.limits import (
    file_limits,
    finite,
    holdable_ports,
    port_limits,
    silent_limits,
    time_wait_limits,
)
from lab.capacity.nat import Mappings
from lab.capacity.ports import Pools, Search, distinct, pools, reuses
from lab.capacity.records import (
    Forecast,
    LimitName,
    PortForecast,
    TableForecast,
    TimeWaitForecast,
)
from lab.capacity.situation import Load, Settings, Situation
from lab.capacity.tracking import TrackingTable
from loadgen.search import TIME_WAIT

TIME_WAIT_BYTES: Final = 256
"""T2. A TIME_WAIT socket (`tw_sock_TCP` in /proc/slabinfo, 6.18)."""
BOUND_PORT_BYTES: Final = 256
"""T2. More on the client, for the port that it keeps bound: two kmalloc-128, for a bucket by port and,
since 6.1, one by port and address (measured: 12,128 objects for 6,000 connections). A server's
sockets share those of its listening port."""


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


def _time_wait(situation: Situation) -> TimeWaitForecast:
    close, settings = situation.load.close, situation.settings
    sockets = time_wait_sockets(situation)
    if close == "rst":
        return TimeWaitForecast(side="nobody", sockets=0.0, most=None, bytes=0.0)
    if close == "server":
        return TimeWaitForecast(
            side="server",
            sockets=sockets,
            most=settings.server_max_time_wait,
            bytes=sockets * TIME_WAIT_BYTES,
        )
    return TimeWaitForecast(
        side="client",
        sockets=sockets,
        most=settings.max_time_wait,
        bytes=sockets * (TIME_WAIT_BYTES + BOUND_PORT_BYTES),
    )


def _capped(settings: Settings, load: Load, found: Pools) -> bool:
    """Whether tcp_max_tw_buckets keeps the quick ports from ever being used up (T3)."""
    return holdable_ports(settings, load) < found.all_quick


def _sustainable(
    load: Load,
    search: Search,
    tracking: TrackingTable | None,
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
    tracking = TrackingTable(settings, load, search) if load.tracked else None
    mappings = Mappings(settings, load, situation.kernel, search) if load.nat else None
    limits = [
        *port_limits(search, holdable=holdable_ports(settings, load)),
        *time_wait_limits(situation, search),
        *(silent_limits("conntrack_full", tracking, search) if tracking else ()),
        *(silent_limits("nat_ports_exhausted", mappings, search) if mappings else ()),
        *file_limits(load),
    ]
    end = math.inf if load.duration is None else load.duration
    broken = sorted((limit for limit in limits if limit.at < end), key=lambda limit: limit.at)
    rate, name = _sustainable(load, search, tracking, mappings, capped=capped)
    return Forecast(
        rate=load.rate,
        duration=load.duration,
        sustainable_rate=finite(rate),
        bound_by=name,
        settled_rate=load.rate if capped else min(load.rate, search.settled_rate),
        ports=PortForecast(
            pools=found.count,
            usable=found.usable,
            quick=found.quick,
            hold=found.hold,
            reuse=reuses(settings, load),
            in_use=min(load.rate / found.count * found.hold, found.usable),
            quick_rate=finite(found.quick_rate),
            wall_rate=finite(found.wall_rate),
            slow_connect=search.slow_connect,
            slow_rate=search.slow_rate,
        ),
        time_wait=_time_wait(situation),
        conntrack=_table(tracking) if tracking else None,
        in_flight=load.rate * load.lifetime,
        floor_cpus=load.rate * load.costs.floor,
        accept_pause=min(settings.somaxconn, load.backlog) / load.rate,
        limits=broken,
        assumed=list(settings.assumed),
    )


def _table(tracking: TrackingTable) -> TableForecast:
    most = tracking.settings.tracked_most
    return TableForecast(
        entries=tracking.entries,
        most=most,
        bytes=tracking.entries * tracking.entry_bytes,
        most_bytes=None if most is None else most * tracking.entry_bytes,
        table_bytes=tracking.table_bytes,
        full_rate=finite(tracking.full_rate),
    )
