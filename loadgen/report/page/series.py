"""From samples to curves: one time axis for all runs, thinned to what a page can show. Pure.

Two runs are never sampled at the same moments, so every curve is read off on a common grid:
counters become rates between grid points, gauges are read at them. A stretch without samples longer
than `GAP` stays empty; nothing is drawn through it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

from loadgen.accounting.latency import Counts, IntervalHistogram, merged, quantile
from loadgen.sample import ROLE_GENERATOR, Sample

POINTS: Final = 120
"""Most points of a curve over time."""
GAP: Final = 1.0
"""Seconds without a sample after which a curve is broken, at the least."""
_STEPS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

Values = list[float | None]


class Curve(msgspec.Struct, frozen=True):
    """One metric of several runs: the course of one of them, and the range of all around it."""

    values: Values
    low: Values
    high: Values


class Track(msgspec.Struct, frozen=True):
    """Readings of one metric of one role in one run."""

    times: list[float]
    values: list[float]


Tracks = Mapping[tuple[str, str], Track]
"""By role and metric."""


def grid(longest: float, points: int = POINTS) -> list[float]:
    """Return the moments from 0 to `longest` seconds at which curves are read off."""
    step = next((step for step in _STEPS if longest / step <= points), _STEPS[-1])
    return [round(index * step, 3) for index in range(int(longest / step + 1e-6) + 1)]


def tracks(samples: Iterable[Sample]) -> dict[tuple[str, str], Track]:
    """Return the readings of every metric, by role and name, in the order of time."""
    found: dict[tuple[str, str], Track] = {}
    for sample in samples:
        for name, value in sample.values.items():
            key = sample.role, name
            track = found.get(key)
            if track is None:
                track = found[key] = Track([], [])
            if not track.times or sample.t > track.times[-1]:
                track.times.append(sample.t)
                track.values.append(float(value))
    return found


def read_off(track: Track, moments: Sequence[float], gap: float) -> Values:
    """Return the value at each moment, on the straight line between the samples around it."""
    values: Values = []
    times = track.times
    for moment in moments:
        right = bisect_left(times, moment)
        if right < len(times) and times[right] == moment:
            values.append(track.values[right])
            continue
        if right == 0:
            # The first sample comes a little after the run's start.
            values.append(track.values[0] if times and times[0] - moment <= GAP / 2 else None)
            continue
        if right == len(times):
            values.append(track.values[-1] if moment - times[-1] <= GAP / 2 else None)
            continue
        left = right - 1
        width = times[right] - times[left]
        if width > gap:
            values.append(None)
            continue
        part = (moment - times[left]) / width
        values.append(track.values[left] + part * (track.values[right] - track.values[left]))
    return values


def rate(values: Values, moments: Sequence[float]) -> Values:
    """Return a counter's change per second up to each moment; the first has none."""
    changes: Values = [None]
    for (t0, t1), (v0, v1) in zip(pairwise(moments), pairwise(values), strict=True):
        changes.append(None if v0 is None or v1 is None else max(0.0, (v1 - v0) / (t1 - t0)))
    return changes


def ratio(parts: Values, wholes: Values) -> Values:
    """Return part by whole, empty where either is, or where the whole is zero."""
    return [
        None if part is None or not whole else part / whole
        for part, whole in zip(parts, wholes, strict=True)
    ]


Reader = Callable[[Tracks, Sequence[float]], Values | None]
"""Reads one run's curve off at the moments; None where the run did not measure it."""


def gauge(role: str, metric: str) -> Reader:
    """Return a reader of a gauge."""

    def read(found: Tracks, moments: Sequence[float]) -> Values | None:
        track = found.get((role, metric))
        return None if track is None else read_off(track, moments, _gap(track, moments))

    return read


def counter_rate(metric: str, role: str = ROLE_GENERATOR) -> Reader:
    """Return a reader of a counter's change per second.

    The generator reports an outcome only once it has occurred: in its samples before that it is
    zero.
    """

    def read(found: Tracks, moments: Sequence[float]) -> Values | None:
        track = found.get((role, metric))
        if track is None:
            return None
        if metric.startswith("generator_outcome_"):
            track = _from_zero(track, found.get((role, "generator_scheduled")))
        return rate(read_off(track, moments, _gap(track, moments)), moments)

    return read


def _from_zero(track: Track, every: Track | None) -> Track:
    """Return a counter with a zero for each sample that came before its first occurrence."""
    before = every.times[: bisect_left(every.times, track.times[0])] if every is not None else []
    return Track([*before, *track.times], [0.0] * len(before) + track.values)


def per_call(part: str, whole: str) -> Reader:
    """Return a reader of one counter's change by another's."""

    def read(found: Tracks, moments: Sequence[float]) -> Values | None:
        rates = [counter_rate(name)(found, moments) for name in (part, whole)]
        if rates[0] is None or rates[1] is None:
            return None
        return ratio(rates[0], rates[1])

    return read


def _gap(track: Track, moments: Sequence[float]) -> float:
    """Return the seconds without a sample after which a curve is broken.

    A reading that is costly, such as that of the ports, is taken less often than the others: its
    own usual distance counts.
    """
    usual = median(b - a for a, b in pairwise(track.times)) if len(track.times) > 1 else 0.0
    step = moments[1] - moments[0] if len(moments) > 1 else 0.0
    return max(GAP, 2 * step, 3 * usual)


def curve(
    reader: Reader, runs: Sequence[Tracks], shown: int, moments: Sequence[float]
) -> Curve | None:
    """Return the curve of run `shown` with the range of all; None where `shown` lacks it."""
    rows = [reader(run, moments) for run in runs]
    middle = rows[shown] if rows else None
    if middle is None or all(value is None for value in middle):
        return None
    return envelope(middle, [row for row in rows if row is not None])


def envelope(middle: Values, rows: Sequence[Values]) -> Curve:
    """Return `middle` with the least and the greatest value of all rows at each point."""
    low: Values = []
    high: Values = []
    for column in zip(*rows, strict=True):
        known = [value for value in column if value is not None]
        low.append(min(known) if known else None)
        high.append(max(known) if known else None)
    return Curve(middle, low, high)


class Span(msgspec.Struct, frozen=True):
    """A value that holds from `start` to `end`, both in seconds."""

    start: float
    end: float
    value: float


def latency_spans(
    intervals: Iterable[IntervalHistogram], tag: str, q: float, width: float = 1.0
) -> list[Span]:
    """Return a quantile of one latency over each stretch of time, in seconds, in order.

    Args:
        intervals: as stored, one a second.
        tag: the latency.
        q: the quantile, 0 to 1.
        width: seconds of a stretch; the intervals that begin in it are added up, so that a long
            run, of which not every second can be drawn, loses no spike between two points.
    """
    stretches: dict[int, list[IntervalHistogram]] = {}
    for interval in intervals:
        if interval.tag == tag and interval.counts:
            stretches.setdefault(int(interval.start / width + 1e-6), []).append(interval)
    return [
        Span(
            min(interval.start for interval in found),
            max(interval.start + interval.length for interval in found),
            quantile(merged(interval.counts for interval in found), q),
        )
        for _, found in sorted(stretches.items())
    ]


def held(spans: Sequence[Span], moments: Sequence[float]) -> Values:
    """Return at each moment the value of the span that holds there, up to and with its end."""
    starts = [span.start for span in spans]
    values: Values = []
    for moment in moments:
        # At 0 s the first span has just begun; else a moment belongs to the span that ends there.
        index = max(0, bisect_left(starts, moment) - 1)
        inside = bool(spans) and spans[index].start <= moment <= spans[index].end + 1e-9
        values.append(spans[index].value if inside else None)
    return values


def percentiles(histograms: Iterable[Counts], per_decade: int = 10) -> list[tuple[float, float]]:
    """Return (1/(1-p), seconds) from the median up to the last p the count can tell.

    With n values the highest percentile that means anything is 1 - 1/n.
    """
    counts = merged(histograms)
    total = sum(counts.values())
    points: list[tuple[float, float]] = []
    index = round(per_decade * math.log10(2))
    while (x := 10 ** (index / per_decade)) <= total:
        x = x if points else 2.0
        points.append((round(x, 4), quantile(counts, 1 - 1 / x)))
        index += 1
    return points
