"""When something began that a person would want to know of later, and when it ended. Pure.

A limit is reported when half of it is used (for local ports: connect() becomes slow there), when four
fifths are, and when all is. It has to fall a tenth below such a mark before it is reported again:
what wavers around a mark is one event. Counters of failures are reported when they begin to move, and
when they have stood still for a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loadgen.summary import Number
from loadgen.target import endpoint
from loadgen.watch.headroom import Gauge
from loadgen.watch.recording import Moment
from loadgen.watch.view import RATES
from loadgen.watch.who import Destination, Who
from loadgen.watch.words import amount

MARKS: Final = (0.5, 0.8, 1.0)
_FALLS: Final = 0.9
"""Of a mark: the share below which it has ended."""
QUIET: Final = 60.0
"""Seconds without a failure after which it has ended."""
_FAILURES: Final = tuple((title, name) for title, name, bad in RATES if bad)
_MOST: Final = 1000
"""Destinations whose state is remembered."""


class Marks:
    """Remembers what has begun."""

    def __init__(self) -> None:
        self._reached: dict[tuple[str, float], str] = {}
        self._moving: dict[str, tuple[float, Number, Number]] = {}
        self._before: dict[str, Number] = {}
        self._slow: dict[tuple[str, str, int], str] = {}
        self._sysctls: Mapping[str, str] | None = None

    def take(
        self,
        time: float,
        values: Mapping[str, Number],
        gauges: list[Gauge],
        who: Who | None,
        sysctls: Mapping[str, str],
    ) -> list[Moment]:
        """Return what began or ended with this reading.

        Args:
            time: of the reading, in seconds since 1970.
            values: of the reading.
            gauges: everything with a limit.
            who: who uses what; None when that was not counted again.
            sysctls: in force.
        """
        found = [*self._limits(gauges), *self._failures(time, values), *self._settings(sysctls)]
        if who is not None:
            found += self._searches(who)
        return [
            Moment(
                time=time,
                name=name,
                began=began,
                text=text,
                values=dict(values) if began else {},
                who=who if began else None,
            )
            for name, began, text in found
        ]

    def _limits(self, gauges: list[Gauge]) -> list[tuple[str, bool, str]]:
        fullest: dict[str, Gauge] = {}
        for gauge in gauges:
            if gauge.name not in fullest or gauge.share > fullest[gauge.name].share:
                fullest[gauge.name] = gauge
        found = []
        for name, gauge in fullest.items():
            told = f"{amount(gauge.value)} of {amount(gauge.limit)}"
            for mark in MARKS:
                key = name, mark
                if gauge.share >= mark and key not in self._reached:
                    self._reached[key] = gauge.title
                    found.append((name, True, f"{gauge.title}: {mark:.0%} used ({told})"))
                elif gauge.share < mark * _FALLS and key in self._reached:
                    title = self._reached.pop(key)
                    found.append((name, False, f"{title}: below {mark:.0%} again ({told})"))
        return found

    def _failures(self, time: float, values: Mapping[str, Number]) -> list[tuple[str, bool, str]]:
        found = []
        for title, name in _FAILURES:
            now, before = values.get(name), self._before.get(name)
            if now is None:
                continue
            self._before[name] = now
            if before is not None and now > before:
                if name not in self._moving:
                    found.append((name, True, f"{title}: {amount(now - before)} at once"))
                _, first, _ = self._moving.get(name, (time, before, now))
                self._moving[name] = time, first, now
            elif name in self._moving and time - self._moving[name][0] >= QUIET:
                _, first, last = self._moving.pop(name)
                found.append(
                    (name, False, f"{title}: none for a minute, {amount(last - first)} in all")
                )
        return found

    def _searches(self, who: Who) -> list[tuple[str, bool, str]]:
        found = []
        seen = set()
        for line in who.destinations:
            key = line.source, line.destination, line.port
            seen.add(key)
            state = _state(line)
            before = self._slow.get(key, "")
            if state == before or len(self._slow) >= _MOST:
                continue
            name = f"{endpoint(line.destination, line.port)} from {line.source}"
            if state:
                self._slow[key] = state
                held = f"{amount(line.held)} of {amount(who.usable or 0)} ports held"
                found.append(("connect", True, f"connect() toward {name} {state}: {held}"))
            else:
                del self._slow[key]
                found.append(("connect", False, f"connect() toward {name} is quick again"))
        for key in self._slow.keys() - seen:
            del self._slow[key]
        return found

    def _settings(self, sysctls: Mapping[str, str]) -> list[tuple[str, bool, str]]:
        before, self._sysctls = self._sysctls, dict(sysctls)
        if before is None:
            return []
        return [
            (key, True, f"{key}: {before.get(key, 'absent')} became {sysctls.get(key, 'absent')}")
            for key in sorted(before.keys() | sysctls.keys())
            if before.get(key) != sysctls.get(key)
        ]


def _state(line: Destination) -> str:
    if line.exhausted_in == 0:
        return "finds no port"
    return "is slow" if line.slow_in == 0 else ""
