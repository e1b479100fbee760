"""Which settings have to change so that a load holds. Pure.

The order of remedies is that of their price. Reusing ports costs nothing that a service notices;
ports beyond the default range may be some daemon's; a shorter delay before reuse takes a little of
TIME_WAIT's protection; entries of connection tracking cost memory of the host. A setting that would
not help is not in the file, so that each line of it can be argued.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lab.analysis.text import count, memory
from lab.capacity import (
    Forecast,
    Settings,
    Situation,
    forecast,
    free_ports,
    pools,
    reuses,
    time_wait_sockets,
)
from lab.capacity.situation import (
    MAX_TIME_WAIT,
    RANGE,
    RESERVED,
    REUSE,
    REUSE_DELAY,
    SOMAXCONN,
    TIMESTAMPS,
    TRACKED_BUCKETS,
    TRACKED_MOST,
    TRACKED_TIME_WAIT,
)
from lab.plan.advice import program_advice
from lab.plan.notes import notes_on
from lab.plan.records import Plan, PlannedLine, Side
from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.flags import DAEMONS
from loadgen.units import spaced

HEADROOM: Final = 1.15
"""How much more than the asked rate a tuning is made for: arrivals come in bunches, and a port that
a slow connection holds is one fewer."""
_LAST_PORT: Final = 65_535
_STEP: Final = 1024
"""Ranges begin at a multiple of this: a figure people can remember."""
_DELAY_STEP: Final = 50
_LEAST_DELAY: Final = 100
"""Milliseconds. A delay well above any round trip of a data centre; below it nothing is advised."""
_ACCEPT_QUEUE: Final = 4096
"""somaxconn's default since 5.4."""
_SHORT_TIMER: Final = 60
"""Seconds: as long as TIME_WAIT."""

_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    RANGE: ("ports",),
    RESERVED: ("reserved",),
    REUSE: ("reuse",),
    REUSE_DELAY: ("reuse_delay",),
    TIMESTAMPS: ("timestamps",),
    MAX_TIME_WAIT: ("max_time_wait", "server_max_time_wait"),
    SOMAXCONN: ("somaxconn",),
    TRACKED_MOST: ("tracked_most",),
    TRACKED_BUCKETS: ("tracked_buckets",),
    TRACKED_TIME_WAIT: ("tracked_time_wait",),
}
"""What each sysctl that a plan may set is called in `Settings`."""


def _rewritten(settings: Settings, key: str, value: str) -> Settings:
    """Return settings with one sysctl changed, on both sides."""
    changed = Settings.of({key: value})
    new: dict[str, Any] = {field: getattr(changed, field) for field in _FIELDS[key]}
    return replace(settings, **new)


def reserved_for(
    low: int, high: int, kept: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int], ...]:
    """Return the spans of a range that belong to daemons, with those that are reserved already."""
    spans = sorted(
        [
            *kept,
            *((first, last) for first, last, _ in DAEMONS if last >= low and first <= high),
        ]
    )
    merged: list[tuple[int, int]] = []
    for first, last in spans:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _spelled(spans: tuple[tuple[int, int], ...]) -> str:
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)


class _Planner:
    """Adds lines until the load holds, or there is no line left that helps.

    It plans for more than is asked, and at first as if tcp_max_tw_buckets were without end: a low
    value hides the want of ports by dropping TIME_WAIT. `time_wait` makes room at the end.
    """

    def __init__(self, situation: Situation, known: Mapping[str, str]) -> None:
        load, settings = situation.load, situation.settings
        self.situation = replace(
            situation,
            load=replace(load, rate=load.rate * HEADROOM),
            settings=replace(settings, max_time_wait=None, server_max_time_wait=None),
        )
        self.known = known
        self.limits: dict[str, Any] = {
            "max_time_wait": settings.max_time_wait,
            "server_max_time_wait": settings.server_max_time_wait,
        }
        self.lines: list[PlannedLine] = []

    def add(
        self, key: str, value: str, why: str, price: str, *, side: Side, may_fail: bool = False
    ) -> None:
        """Take one line in, unless the value is in force already."""
        was = self.known.get(key)
        if was is not None and spaced(was) == value:
            return
        self.lines.append(
            PlannedLine(
                key=key,
                value=value,
                was=was,
                why=why,
                price=price,
                side=side,
                scope=CATALOGUE[key].scope,
                may_fail=may_fail,
            )
        )
        self.situation = replace(
            self.situation, settings=_rewritten(self.situation.settings, key, value)
        )

    def holds(self) -> bool:
        """Whether no port is missing, with the headroom, and every search stays quick."""
        return all(
            limit.name not in {"port_search_slow", "ports_exhausted"}
            for limit in forecast(self.situation).limits
        )

    def reuse(self) -> None:
        """Take ports out of TIME_WAIT, where anything can."""
        settings, load = self.situation.settings, self.situation.load
        wanted = replace(settings, reuse=1, timestamps=True)
        if reuses(settings, load) or not reuses(wanted, load):
            return
        if settings.reuse != 1:
            self.add(
                REUSE,
                "1",
                "lets connect() take a port that its last connection to the same server left in "
                "TIME_WAIT a second ago; otherwise a port is gone for 60 s",
                "none: guarded by TCP timestamps, and only for connect()",
                side="client",
            )
        if not settings.timestamps:
            self.add(
                TIMESTAMPS,
                "1",
                "what the reuse of ports depends on, at both ends",
                "12 bytes a segment",
                side="both",
            )

    def _needed(self) -> int:
        """Return how many quick ports each pool must have."""
        found = pools(self.situation)
        return math.ceil(self.situation.load.rate * found.hold / found.count)

    def widen(self) -> None:
        """Find the smallest range with enough quick ports, from the top of all ports downward."""
        if self.situation.load.local_port_range is not None:
            return
        kept = self.situation.settings.reserved
        need = self._needed()
        low, _ = self.situation.settings.ports
        parity_first = self.situation.kernel.parity_first
        candidates = range(low // _STEP * _STEP, _STEP - 1, -_STEP)
        for first in candidates:
            reserved = reserved_for(first, _LAST_PORT, kept)
            parity = first % 2 if parity_first else None
            if free_ports(first, _LAST_PORT, reserved, parity) >= need or first == candidates[-1]:
                self._range(first, reserved, parity_first=parity_first)
                return

    def _range(
        self, first: int, reserved: tuple[tuple[int, int], ...], *, parity_first: bool
    ) -> None:
        ports = free_ports(first, _LAST_PORT, reserved)
        half = (
            "; connect() looks at every second one first, and turns slow once those are used up"
            if parity_first
            else ""
        )
        # Before the range: for a moment the kernel must not choose a port that is to be reserved.
        self.add(
            RESERVED,
            _spelled(reserved),
            "ports in the new range that daemons listen on by default; add your own",
            "each is one port fewer; the line replaces the list that is there",
            side="client",
        )
        self.add(
            RANGE,
            f"{first} {_LAST_PORT}",
            f"{count(ports)} ports{half}",
            "an outgoing connection may take the port of a daemon that is not running and not "
            "reserved",
            side="client",
        )

    def shorten(self) -> None:
        """Let ports come back sooner, on kernels that can (6.14)."""
        settings, load = self.situation.settings, self.situation.load
        if REUSE_DELAY not in self.known or not reuses(settings, load):
            return
        found = pools(self.situation)
        most = found.all_quick / load.rate - load.lifetime
        delay = int(most * 1000) // _DELAY_STEP * _DELAY_STEP
        if not _LEAST_DELAY <= delay < settings.reuse_delay * 1000:
            return
        self.add(
            REUSE_DELAY,
            str(delay),
            f"lets a port be reused {delay} ms after its last connection, not "
            f"{settings.reuse_delay * 1000:g} ms",
            "a segment of the old connection that is under way for longer is told apart by its "
            "timestamp alone",
            side="client",
        )

    def time_wait(self) -> None:
        """Make room for the TIME_WAIT sockets that there will be."""
        load = self.situation.load
        sockets = time_wait_sockets(self.situation)
        server = load.close == "server"
        most = self.limits["server_max_time_wait" if server else "max_time_wait"]
        each = forecast(self.situation).time_wait.bytes / sockets if sockets else 0.0
        self.situation = replace(
            self.situation, settings=replace(self.situation.settings, **self.limits)
        )
        if most is None or sockets <= most:
            return
        size = 1 << math.ceil(math.log2(sockets))
        self.add(
            MAX_TIME_WAIT,
            str(size),
            f"{count(sockets)} sockets will be in TIME_WAIT; above the limit connections end "
            "without its protection",
            f"up to {memory(size * each)}",
            side="server" if server else "client",
        )

    def tracking(self) -> None:
        """Make the entries fit: first a shorter memory, then a larger table."""
        load = self.situation.load
        if not self._overflows():
            return
        timer = self.situation.settings.tracked_time_wait
        if load.close != "rst" and timer > _SHORT_TIMER:
            self.add(
                TRACKED_TIME_WAIT,
                str(_SHORT_TIMER),
                f"forgets a closed connection after 60 s, as TIME_WAIT does, instead of {timer:g} s",
                "none where no NAT is in the way; behind one, keep it at 60 s or more",
                side="both",
                may_fail=True,
            )
        if not self._overflows():
            return
        found = forecast(self.situation).conntrack
        assert found is not None
        size = 1 << math.ceil(math.log2(found.entries + load.tracked_before))
        each = found.bytes / found.entries
        self.add(
            TRACKED_MOST,
            str(size),
            f"{count(found.entries)} connections will be tracked; one more than the limit and "
            "packets are dropped",
            f"up to {memory(size * each)}; the host's, shared by all namespaces",
            side="both",
            may_fail=True,
        )
        buckets = self.situation.settings.tracked_buckets
        if buckets is not None and buckets < size:
            self.add(
                TRACKED_BUCKETS,
                str(size),
                "as many buckets as entries, so that a lookup stays short",
                f"{memory((size - buckets) * 8)}; the host's",
                side="both",
                may_fail=True,
            )

    def _overflows(self) -> bool:
        return any(limit.name == "conntrack_full" for limit in forecast(self.situation).limits)

    def accept_queue(self) -> None:
        """The server's queue of connections that nobody accepted yet."""
        if self.situation.settings.somaxconn < _ACCEPT_QUEUE:
            self.add(
                SOMAXCONN,
                str(_ACCEPT_QUEUE),
                "on the server: room for connections while it is busy; the default since 5.4 "
                "(memcached must ask for it too: -b 4096)",
                "a long queue is latency",
                side="server",
            )


def make(situation: Situation, known: Mapping[str, str], *, tuning: str, kernel: str) -> Plan:
    """Return what has to change so that a load holds.

    Args:
        situation: the load, and the settings under the tuning in question.
        known: sysctls in force under that tuning, by dotted key.
        tuning: its name.
        kernel: the release that the forecast is for.
    """
    load = situation.load
    now = forecast(situation)
    planner = _Planner(situation, known)
    if load.close == "client":
        for remedy in (planner.reuse, planner.widen, planner.shorten):
            if not planner.holds():
                remedy()
    planner.time_wait()
    if load.tracked:
        planner.tracking()
    if planner.lines or not now.holds:
        planner.accept_queue()
    final = replace(situation, settings=planner.situation.settings)
    then = forecast(final)
    return Plan(
        tuning=tuning,
        kernel=kernel,
        load=load,
        now=now,
        lines=planner.lines,
        then=then,
        headroom=HEADROOM,
        bytes_now=_memory_of(now),
        bytes_then=_memory_of(then),
        sources_needed=_sources(final),
        program=program_advice(final),
        notes=notes_on(situation, now, planner.lines),
    )


def _memory_of(found: Forecast) -> float:
    tracked = found.conntrack
    entries = 0.0 if tracked is None else tracked.bytes + (tracked.table_bytes or 0)
    return found.time_wait.bytes + entries


def _sources(situation: Situation) -> int:
    """Return how many client addresses make every search quick at the planned rate."""
    load = situation.load
    found = pools(situation)
    if load.close != "client" or not found.quick:
        return load.sources
    hold = found.hold if load.duration is None else min(found.hold, load.duration)
    need = load.rate * HEADROOM * hold / (found.quick * found.count / load.sources)
    return max(load.sources, math.ceil(need))
