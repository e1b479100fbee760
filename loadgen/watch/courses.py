"""A recording of days boiled down to what a page can show: courses, peaks, what happened. Pure.

Courses are thinned as they come: each point stands for a stretch of time, with the least, the mean
and the greatest value in it, and when there are too many stretches each two become one. So memory
does not depend on how long was recorded, and no peak is lost.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from loadgen.metrics import CATALOGUE
from loadgen.summary import Number
from loadgen.watch.recording import AnyPiece, Head, Moment, Replay, Tick, Use
from loadgen.watch.who import Destination, Holder, Who

POINTS: Final = 480
"""Stretches that a course is thinned to at most."""
PEAK: Final = 10.0
"""Seconds over which the highest rate is taken."""
_SHORT: Final = 2.0
"""Seconds by which a first rate is taken, so that a short recording has one."""
_GAP: Final = 5
"""Intervals without a reading from which on it is a gap."""
_MOST: Final = 2000
"""Moments, gaps and destinations that are kept of each."""
OPENED: Final = "netstat_Tcp_ActiveOpens"


class Course:
    """The course of one value."""

    def __init__(self, width: float) -> None:
        self.width = width
        """Seconds of a stretch."""
        self._begin: float | None = None
        self._stretches: dict[int, tuple[float, int, float, float]] = {}
        self.peak: tuple[float, float] | None = None
        """The greatest value, and when."""

    def add(self, t: float, value: float) -> None:
        """Take in a value; they come in the order of time, mostly."""
        if self._begin is None:
            self._begin = t
        place = int((t - self._begin) / self.width)
        total, count, low, high = self._stretches.get(place, (0.0, 0, math.inf, -math.inf))
        self._stretches[place] = total + value, count + 1, min(low, value), max(high, value)
        if self.peak is None or value > self.peak[0]:
            self.peak = value, t
        while place - min(self._stretches) >= POINTS:
            self._halve()
            place //= 2

    def _halve(self) -> None:
        self.width *= 2
        before, self._stretches = self._stretches, {}
        for place, (total, count, low, high) in before.items():
            sums, counts, least, most = self._stretches.get(
                place // 2, (0.0, 0, math.inf, -math.inf)
            )
            self._stretches[place // 2] = (
                sums + total, counts + count, min(least, low), max(most, high)
            )  # fmt: skip

    def points(self) -> list[tuple[float, float, float, float]]:
        """Return time, mean, least and greatest value of each stretch that has any."""
        begin = self._begin or 0.0
        return [
            (begin + (place + 0.5) * self.width, total / count, low, high)
            for place, (total, count, low, high) in sorted(self._stretches.items())
        ]


@dataclass
class Boiled:
    """What is kept of a recording."""

    head: Head | None = None
    """Of the last segment."""
    began: float = math.inf
    """Seconds since 1970 of the first reading, and of the last."""
    ended: float = -math.inf
    readings: int = 0
    gaps: list[tuple[float, float]] = field(default_factory=list)
    courses: dict[str, Course] = field(default_factory=dict)
    """Gauges by name; counters as their change a second."""
    moments: list[Moment] = field(default_factory=list)
    destinations: dict[tuple[str, str, int], tuple[Destination, Destination]] = field(
        default_factory=dict
    )
    """Each when it held most ports, and when it had the highest rate."""
    owners: dict[tuple[str, str, str], Holder] = field(default_factory=dict)
    """Each when it opened most."""
    busiest: Who | None = None
    """When most connections a second were closed."""
    opened: tuple[float, float] | None = None
    """The most connections a second that were opened, over `PEAK` seconds, and when."""
    closed_here: float = 0.0
    """The most connections a second that this host closed first."""


class Boiler:
    """Boils a recording down, piece by piece."""

    def __init__(self) -> None:
        self.found = Boiled()
        self._replay = Replay()
        self._before: dict[str, tuple[float, Number]] = {}
        self._opened: deque[tuple[float, float]] = deque()

    def take(self, piece: AnyPiece) -> None:
        """Take in one piece, in the order in which they were written."""
        last = self._replay.last
        moment = self._replay.take(piece)
        if moment is None or not math.isfinite(moment):
            return
        found = self.found
        if isinstance(piece, Head):
            found.head = piece
        elif isinstance(piece, Tick):
            self._tick(moment, last)
        elif isinstance(piece, Use):
            self._use(piece.who)
        else:
            if piece.who is not None:
                self._use(piece.who)
            if len(found.moments) < _MOST:
                found.moments.append(piece)

    def _tick(self, now: float, last: float | None) -> None:
        found, values = self.found, self._replay.values
        found.began, found.ended = min(found.began, now), max(found.ended, now)
        found.readings += 1
        assert found.head is not None
        interval = max(found.head.interval, 0.001)
        gap = last is not None and now - last > _GAP * interval + 1
        if gap and last is not None and len(found.gaps) < _MOST:
            found.gaps.append((last, now))
        for name, value in values.items():
            metric = CATALOGUE.get(name)
            if metric is None:
                continue
            if metric.kind == "gauge":
                self._course(name, interval).add(now, value)
                continue
            at, before = self._before.get(name, (now, value))
            self._before[name] = now, value
            # A counter that fell is of a machine, or a namespace, that began anew.
            if now > at and value >= before and not gap:
                self._course(name, interval).add(now, (value - before) / (now - at))
        self._peak(now, values.get(OPENED), gap=gap)

    def _course(self, name: str, interval: float) -> Course:
        course = self.found.courses.get(name)
        if course is None:
            course = self.found.courses[name] = Course(interval)
        return course

    def _peak(self, now: float, opened: Number | None, *, gap: bool) -> None:
        if opened is None:
            return
        window = self._opened
        if gap or (window and opened < window[-1][1]):
            window.clear()
        window.append((now, opened))
        while len(window) > 2 and now - window[1][0] >= PEAK:
            window.popleft()
        at, first = window[0]
        if now - at < PEAK * 0.8 and (self.found.opened is not None or now - at < _SHORT):
            return
        rate = (opened - first) / (now - at)
        if self.found.opened is None or rate > self.found.opened[0]:
            self.found.opened = rate, now

    def _use(self, who: Who) -> None:
        found = self.found
        for line in who.destinations:
            key = line.source, line.destination, line.port
            if key not in found.destinations and len(found.destinations) >= _MOST:
                continue
            fullest, fastest = found.destinations.get(key, (line, line))
            found.destinations[key] = (
                line if line.held > fullest.held else fullest,
                line if (line.rate or 0) > (fastest.rate or 0) else fastest,
            )
        for owner in who.owners:
            name = owner.process, owner.container, owner.unit or owner.cgroup
            known = found.owners.get(name)
            if known is None and len(found.owners) >= _MOST:
                continue
            if known is None or (owner.rate or 0) > (known.rate or 0):
                found.owners[name] = owner
        if who.rate is not None and who.rate > found.closed_here:
            found.closed_here, found.busiest = who.rate, who
