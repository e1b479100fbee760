"""The limits that a load runs into: what each is called, and when it breaks. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from lab.capacity.ports import Search
from lab.capacity.records import Limit, LimitName
from lab.capacity.situation import Load, Settings, Situation
from loadgen.search import TIME_WAIT


@dataclass(frozen=True, slots=True)
class LimitWords:
    """What a limit is called."""

    bound: str
    """As what bounds a rate: `the bound is …`."""
    broken: str
    """As what happens when it breaks, in three words or so."""
    until: str
    """As a figure: `connections until …`."""
    silent: bool = False
    """Whether nobody answers then: a connection is lost when its time is up, not at once."""


LIMITS: Final[Mapping[LimitName, LimitWords]] = MappingProxyType(
    {
        "port_search_slow": LimitWords(
            "the search for a free port", "slow port search", "the slow port search loses the first"
        ),
        "ports_exhausted": LimitWords("the number of ports", "no port left", "the ports run out"),
        "conntrack_full": LimitWords(
            "the conntrack table",
            "full conntrack table",
            "the full conntrack table loses the first",
            silent=True,
        ),
        "nat_ports_exhausted": LimitWords(
            "the number of the NAT's ports",
            "no port of the NAT left",
            "a NAT without a free port loses the first",
            silent=True,
        ),
        "time_wait_buckets_full": LimitWords(
            "tcp_max_tw_buckets", "tcp_max_tw_buckets", "the first loss"
        ),
        "open_files": LimitWords("open files", "open files", "the open files run out"),
    }
)


def finite(value: float) -> float | None:
    """Return a rate or a number for a record; None for one without bound."""
    return value if math.isfinite(value) else None


def holdable_ports(settings: Settings, load: Load) -> float:
    """Return how many ports TIME_WAIT can hold at once: tcp_max_tw_buckets, where it applies (T3).

    Above it the kernel ends a connection without TIME_WAIT and its port is free at once: a low
    value hides the want of ports and drops the protection that TIME_WAIT is for. With reuse or
    without, a port is held by a TIME_WAIT socket, but for the few of connections under way.
    """
    if load.close != "client" or settings.max_time_wait is None:
        return math.inf
    return settings.max_time_wait


def port_limits(search: Search, *, holdable: float) -> list[Limit]:
    """Return what the client's ports run into; `holdable` is as `holdable_ports` has it."""
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
                rate=finite(search.pools.quick_rate),
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
                rate=finite(search.pools.wall_rate),
                connections=search.pools.all_usable,
                at=exhausted_at,
                loses=True,
                lost_at=exhausted_at,
                lost_after=search.pools.all_usable,
            )
        )
    return limits


def time_wait_limits(situation: Situation, search: Search) -> list[Limit]:
    """Return what tcp_max_tw_buckets of the side that closes first runs into."""
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


class Filling(Protocol):
    """What a load fills up, and what then drops its SYNs: a table, or a NAT's ports."""

    @property
    def full_at(self) -> float | None:
        """Seconds until it is full; None for never."""

    @property
    def full_after(self) -> float | None:
        """Connections started until then."""

    @property
    def full_rate(self) -> float:
        """Connections per second above which it is full sooner or later."""


def silent_limits(name: LimitName, filling: Filling, search: Search) -> list[Limit]:
    """Return when something is full whose SYNs nobody answers then."""
    at, after = filling.full_at, filling.full_after
    if at is None or after is None:
        return []
    timeout = search.load.timeout
    # A load that has ended by the time of the first loss starts nothing more.
    ended = math.inf if search.load.duration is None else search.load.duration
    return [
        Limit(
            name=name,
            rate=finite(filling.full_rate),
            connections=after,
            at=at,
            loses=True,
            # The SYN is dropped and repeated; the connection is lost when its time is up.
            lost_at=at + timeout,
            lost_after=search.started(min(at + timeout, ended)),
        )
    ]


def file_limits(load: Load) -> list[Limit]:
    """Return what the client's open files run into."""
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
