"""A tuning for a rate: what has to change so that a load holds, and what that costs. Pure.

The order of remedies is that of their price. Reusing ports costs nothing that a service notices;
ports beyond the default range may be some daemon's; entries of connection tracking cost memory of
the host. A setting that would not help is not in the file, so that each line of it can be argued.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import msgspec

from lab.capacity import Forecast, Settings, Situation, forecast, free_ports, pools, reuses
from lab.capacity.situation import (
    MAX_TIME_WAIT,
    RANGE,
    RESERVED,
    REUSE,
    SOMAXCONN,
    TIMESTAMPS,
    TRACKED_BUCKETS,
    TRACKED_MOST,
    TRACKED_TIME_WAIT,
)
from lab.flags import DAEMONS
from lab.sysctls import CATALOGUE
from lab.text import count, plural, significant
from lab.tuning import Setting, parse
from loadgen.summary import Record

PLAN_SCHEMA: Final = "churnlab.plan/1"

HEADROOM: Final = 1.15
"""How much more than the asked rate a tuning is made for: arrivals come in bunches, and a port that
a slow connection holds is one fewer."""
_LAST_PORT: Final = 65_535
_STEP: Final = 1024
"""Ranges begin at a multiple of this: a figure people can remember."""
_ACCEPT_QUEUE: Final = 4096
"""somaxconn's default since 5.4."""
_SHORT_TIMER: Final = 60


class Line(Record, frozen=True, kw_only=True):
    """One setting that has to change."""

    key: str
    value: str
    was: str | None
    """Before; None when it is not known."""
    why: str
    price: str
    scope: Literal["namespace", "host"]
    may_fail: bool = False
    """The host's, or a module's that may not be loaded: written `-key`."""


class Plan(Record, frozen=True, kw_only=True):
    """What `lab plan` found out."""

    schema: Literal["churnlab.plan/1"] = PLAN_SCHEMA
    tuning: str
    kernel: str
    load: dict[str, Any]
    """Rate, duration, close mode, addresses, …: what the forecasts are for."""
    now: Forecast
    """Under the tuning in question."""
    lines: list[Line]
    """What has to change; empty when nothing has, or when no setting helps."""
    then: Forecast
    """With these lines."""
    bytes: float
    """Memory that the lines cost in the long run: TIME_WAIT sockets, conntrack entries, table."""
    sources_needed: int
    """Client addresses with which the lines are enough; the asked number when they are already."""
    program: list[str]
    """What the application can do instead: one sentence each."""
    notes: list[str]


def _rewritten(settings: Settings, values: Mapping[str, str]) -> Settings:
    """Return settings with some sysctls changed, on both sides."""
    changed = Settings.of(values)
    fields = {
        RANGE: ("ports",),
        RESERVED: ("reserved",),
        REUSE: ("reuse",),
        TIMESTAMPS: ("timestamps",),
        MAX_TIME_WAIT: ("max_time_wait", "server_max_time_wait"),
        SOMAXCONN: ("somaxconn",),
        TRACKED_MOST: ("tracked_most",),
        TRACKED_BUCKETS: ("tracked_buckets",),
        TRACKED_TIME_WAIT: ("tracked_time_wait",),
    }
    new: dict[str, Any] = {
        field: getattr(changed, field) for key in values for field in fields[key]
    }
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
    """Adds lines until the load holds, or there is no line left that helps."""

    def __init__(self, situation: Situation, known: Mapping[str, str]) -> None:
        load = situation.load
        self.asked = situation
        # Planned for more than is asked.
        self.situation = replace(situation, load=replace(load, rate=load.rate * HEADROOM))
        self.known = known
        self.lines: list[Line] = []

    def add(self, key: str, value: str, why: str, price: str, *, may_fail: bool = False) -> None:
        """Take one line in, unless the value is in force already."""
        was = self.known.get(key)
        if was is not None and " ".join(was.split()) == value:
            return
        self.lines.append(
            Line(
                key=key,
                value=value,
                was=was,
                why=why,
                price=price,
                scope=CATALOGUE[key].scope,
                may_fail=may_fail,
            )
        )
        self.situation = replace(
            self.situation, settings=_rewritten(self.situation.settings, {key: value})
        )

    def holds(self) -> bool:
        """Whether no port is missing, with the headroom, and every search stays quick."""
        return all(
            limit.name not in {"port_search_slow", "ports_exhausted"}
            for limit in forecast(self.situation).limits
        )

    def reuse(self) -> None:
        """Take ports out of TIME_WAIT."""
        if not reuses(self.situation.settings, self.situation.load):
            self.add(
                REUSE,
                "1",
                "lets connect() take a port that its last connection to the same server left in "
                "TIME_WAIT a second ago; otherwise a port is gone for 60 s",
                "none: guarded by TCP timestamps, and only for connect()",
            )
        if not self.situation.settings.timestamps:
            self.add(TIMESTAMPS, "1", "what the reuse of ports depends on, at both ends",
                     "12 bytes a segment")  # fmt: skip

    def widen(self) -> None:
        """Find the smallest range with enough quick ports, from the top of all ports downward."""
        if self.situation.load.local_port_range is not None:
            return
        kept = self.situation.settings.reserved
        found = pools(self.situation)
        need = math.ceil(self.situation.load.rate * found.hold / found.count)
        low, _ = self.situation.settings.ports
        candidates = range(low // _STEP * _STEP, _STEP - 1, -_STEP)
        for first in candidates:
            reserved = reserved_for(first, _LAST_PORT, kept)
            parity = first % 2 if self.situation.kernel.parity_first else None
            if free_ports(first, _LAST_PORT, reserved, parity) >= need or first == candidates[-1]:
                self._range(first, reserved)
                return

    def _range(self, first: int, reserved: tuple[tuple[int, int], ...]) -> None:
        ports = free_ports(first, _LAST_PORT, reserved)
        self.add(
            RESERVED,
            _spelled(reserved),
            "ports in the new range that daemons listen on by default; add your own",
            "each is one port fewer; the line replaces the list that is there",
        )
        self.add(
            RANGE,
            f"{first} {_LAST_PORT}",
            f"{count(ports)} ports; connect() looks at every second one first, and turns slow once "
            "those are used up",
            "an outgoing connection may take the port of a daemon that is not running and not "
            "reserved",
        )

    def time_wait(self) -> None:
        """Make room for the TIME_WAIT sockets that there will be."""
        found = forecast(self.situation).time_wait
        if found.most is None or found.sockets <= found.most:
            return
        size = 1 << math.ceil(math.log2(found.sockets))
        self.add(
            MAX_TIME_WAIT,
            str(size),
            f"{count(found.sockets)} sockets will be in TIME_WAIT; above the limit connections end "
            "without its protection",
            f"up to {memory(size * found.bytes / found.sockets)}",
        )

    def tracking(self) -> None:
        """Make the entries fit: first a shorter memory, then a larger table."""
        if not self._overflows():
            return
        if self.situation.settings.tracked_time_wait > _SHORT_TIMER:
            self.add(
                TRACKED_TIME_WAIT,
                str(_SHORT_TIMER),
                "forgets a closed connection after 60 s, as TIME_WAIT does, instead of "
                f"{self.situation.settings.tracked_time_wait:g} s",
                "none where no NAT is in the way; behind one, keep it at 60 s or more",
                may_fail=True,
            )
        if not self._overflows():
            return
        found = forecast(self.situation).conntrack
        assert found is not None
        size = 1 << math.ceil(math.log2(found.entries + self.situation.load.tracked_before))
        each = found.bytes / found.entries
        self.add(
            TRACKED_MOST,
            str(size),
            f"{count(found.entries)} connections will be tracked; one more than the limit and "
            "packets are dropped",
            f"up to {memory(size * each)}; the host's, shared by all namespaces",
            may_fail=True,
        )
        buckets = self.situation.settings.tracked_buckets
        if buckets is not None and buckets < size:
            self.add(
                TRACKED_BUCKETS,
                str(size),
                "as many buckets as entries, so that a lookup stays short",
                f"{memory((size - buckets) * 8)}; the host's",
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
        if not planner.holds():
            planner.reuse()
        if not planner.holds():
            planner.widen()
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
        load=msgspec.to_builtins(load),
        now=now,
        lines=planner.lines,
        then=then,
        bytes=_memory_of(then) - _memory_of(now),
        sources_needed=_sources(final),
        program=program_advice(final),
        notes=_notes(situation, now),
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
    need = load.rate * HEADROOM * found.hold / (found.quick * found.count / load.sources)
    return max(load.sources, math.ceil(need))


def _notes(situation: Situation, now: Forecast) -> list[str]:
    load, settings = situation.load, situation.settings
    notes = []
    if load.loopback:
        notes.append("over loopback tcp_tw_reuse = 2 reuses ports already; a network does not")
    if load.bind_early and load.close == "client":
        notes.append(
            "bind() before connect() takes a port from every destination and is never reused: set "
            "IP_BIND_ADDRESS_NO_PORT before it"
        )
    if load.local_port_range is not None and not situation.kernel.socket_range:
        notes.append("this kernel has no IP_LOCAL_PORT_RANGE; it came with 6.3")
    if any(limit.name == "time_wait_buckets_full" for limit in now.limits):
        notes.append(
            f"tcp_max_tw_buckets = {settings.max_time_wait} hides a want of ports: connections "
            "beyond it end without TIME_WAIT"
        )
    notes += [f"{key} could not be read; its documented default was used" for key in now.assumed]
    return notes


def program_advice(situation: Situation) -> list[str]:
    """Return what the application can do instead of, or beside, the settings."""
    load, kernel = situation.load, situation.kernel
    open_at_once = max(1, math.ceil(load.rate * (load.rtt + load.service)))
    advice = [
        f"Keep connections open. {count(load.rate)} requests/s that take "
        f"{significant((load.rtt + load.service) * 1e3)} ms each keep about "
        f"{plural(open_at_once, 'connection')} busy; a pool of twice that needs none of the "
        "settings here, and saves two thirds of the packets."
    ]
    if load.close == "client":
        server = forecast(replace(situation, load=replace(load, close="server"))).time_wait
        advice.append(
            "Let the server close: TIME_WAIT is then the server's "
            f"({count(server.sockets)} sockets, {memory(server.bytes)}), and no port of the client "
            "is held (memcached closes when it reads `quit`; one packet more)."
        )
        if kernel.socket_range_in_order and load.local_port_range is None:
            ranged = replace(load, local_port_range=situation.settings.ports)
            better = forecast(replace(situation, load=ranged))
            advice.append(
                "Set the socket option IP_LOCAL_PORT_RANGE (51 in IPPROTO_IP, value "
                f"{situation.settings.ports[1]} << 16 | {situation.settings.ports[0]}): ports are "
                "then searched in order, all of them are found quickly, and these settings sustain "
                f"{_rate(better.sustainable_rate)} instead of "
                f"{_rate(forecast(situation).sustainable_rate)}."
            )
        one = pools(replace(situation, load=replace(load, sources=1, destinations=1)))
        early = "" if load.bind_early else " (with IP_BIND_ADDRESS_NO_PORT before bind())"
        advice.append(
            f"Use more addresses: each further client address{early}, and each further server "
            f"address or port, adds {count(one.quick_rate)}/s."
        )
    return advice


def _rate(value: float | None) -> str:
    return "any rate" if value is None else f"{count(value)}/s"


def memory(size: float) -> str:
    """Return bytes in the unit that suits them, decimal: `14.5 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size) >= factor:
            return f"{significant(size / factor)} {unit}"
    return f"{size:.0f} B"


def sysctl_file(plan: Plan) -> str:
    """Return the sysctl.d file, each line with its reason and its price.

    Raises:
        TuningError: never for a plan made here; the text is read back to be sure.
    """
    head = [
        f"{count(plan.now.rate)} connections/s, {_topology(plan)}: computed by lab plan.",
        "Prove it: lab run --after FILE --rate "
        f"{plan.now.rate:g} --clients {plan.load['sources']} --servers {plan.load['destinations']}",
    ]
    lines = [f"# {text}" for text in head]
    if not plan.lines:
        lines.append("# Nothing is set: the load holds as it is.")
    for line in plan.lines:
        lines += ["", *_comment(f"{line.why[0].upper()}{line.why[1:]}.")]
        lines += _comment(f"Price: {line.price}.")
        if line.was is not None:
            lines += _comment(f"Was: {line.was}" if line.was else "Was empty.")
        lines.append(f"{'-' if line.may_fail else ''}{line.key} = {line.value}")
    text = "\n".join(lines) + "\n"
    parse(text, name="plan", source="plan")
    return text


def _topology(plan: Plan) -> str:
    closes = {"client": "closed by the client", "server": "closed by the server", "rst": "reset"}
    return (
        f"{plural(plan.load['sources'], 'client address').replace('addresss', 'addresses')} to "
        f"{plural(plan.load['destinations'], 'server')}, {closes[plan.load['close']]}"
    )


def _comment(text: str, width: int = 96) -> list[str]:
    lines, current = [], "#"
    for word in text.split():
        if len(current) + 1 + len(word) > width:
            lines.append(current)
            current = "#"
        current = f"{current} {word}"
    return [*lines, current]


def compose_block(plan: Plan) -> str:
    """Return the same settings for a service in a compose file; those of a namespace only."""
    own = [line for line in plan.lines if line.scope == "namespace"]
    if not own:
        return ""
    lines = ["    sysctls:", *(f'      {line.key}: "{line.value}"' for line in own)]
    return "\n".join(lines) + "\n"


def settings_of(plan: Plan) -> list[Setting]:
    """Return the lines as settings of a tuning."""
    return [
        Setting(line.key, line.value, number, line.may_fail)
        for number, line in enumerate(plan.lines, start=1)
    ]
