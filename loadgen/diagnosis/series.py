"""A metric over a run: its readings in the order of time, found by bisection. Pure.

Rules ask how far a counter moved between two moments, and some ask it once for every tick in which
something failed. A run has as many ticks as it is long, so each answer must cost less than a walk
through all of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from loadgen.sample import Sample
from loadgen.summary import MetricRange, Number


@dataclass(frozen=True, slots=True)
class Series:
    """The readings of one metric in one role's samples, oldest first."""

    times: list[float] = field(default_factory=list)
    """Seconds since the run's start; never falling."""
    values: list[Number] = field(default_factory=list)

    def before(self, moment: float) -> Number | None:
        """Return the last reading at `moment` or before it, None where there is none."""
        place = bisect_right(self.times, moment)
        return self.values[place - 1] if place else None

    def moved(self, since: float, until: float, missing: Number | None = None) -> Number:
        """Return how far a counter moved, from the last reading at `since` to the first at `until`.

        0 where it was not read, or fell.

        Args:
            since: seconds; the first reading stands in where there is none so early.
            until: seconds; the last reading stands in where there is none so late.
            missing: what the counter stood at before its first reading, where that is known.
        """
        if not self.values:
            return 0
        first = self.before(since)
        if first is None:
            first = self.values[0] if missing is None else missing
        last = self.values[min(bisect_left(self.times, until), len(self.values) - 1)]
        return max(0, last - first)

    def rose_at(self) -> float | None:
        """Return when it was first seen above where it stood at the run's start, None if never."""
        if not self.values:
            return None
        start = self.before(0.0)
        return self.above(self.values[0] if start is None else start)

    def above(self, limit: Number) -> float | None:
        """Return when it was first seen above `limit`, None if never."""
        readings = zip(self.times, self.values, strict=True)
        return next((t for t, value in readings if value > limit), None)

    def most(self) -> tuple[Number, float] | None:
        """Return the highest reading and the first moment of it, None where it was not read."""
        if not self.values:
            return None
        value = max(self.values)
        return value, self.times[self.values.index(value)]

    def range(self) -> MetricRange:
        """Return its first, last, least and greatest reading; there must be one."""
        first, last = self.values[0], self.values[-1]
        return MetricRange(
            first=first, last=last, min=min(self.values), max=max(self.values), delta=last - first
        )

    def increments(self) -> Iterator[tuple[float, Number]]:
        """Yield when, and by how much, a counter that begins at 0 grew."""
        readings = zip(self.times, self.values, strict=True)
        for (_, old), (t, new) in pairwise([(0.0, 0), *readings]):
            if new > old:
                yield t, new - old

    def still(self, since: float, until: float) -> bool:
        """Return whether readings between two moments, at least two of them, show no change."""
        first, end = bisect_left(self.times, since), bisect_right(self.times, until)
        return end - first > 1 and self.values[first] == self.values[end - 1]


NEVER_READ = Series()


def by_metric(samples: Iterable[Sample]) -> Mapping[str, Series]:
    """Return the series of every metric in one role's samples, which are in the order of time."""
    found: dict[str, Series] = {}
    for item in samples:
        t = item.t
        for name, value in item.values.items():
            series = found.get(name)
            if series is None:
                series = found[name] = Series()
            series.times.append(t)
            series.values.append(value)
    return found
