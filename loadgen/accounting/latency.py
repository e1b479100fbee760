"""Latency histograms: where a value falls, how histograms add up, and what they say.

The hot path counts each latency in a plain list, at an index that is a table look-up for all but
the longest values. The layout is that of an HdrHistogram with 256 sub-buckets: values below 256 µs
are exact to the microsecond, above that a bucket is at most 1/128 (0.8 %) of its value wide. The
longest value that can be told apart is `LONGEST` seconds; what is longer is counted there.

Percentiles are taken over merged counts, never averaged over workers or trials
(Tene, "How not to measure latency", 2013).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from loadgen.summary import Latency

_SUB_BUCKET_BITS = 8
_HALF_BITS = _SUB_BUCKET_BITS - 1
SUB_BUCKETS = 1 << _SUB_BUCKET_BITS
_TABLE_SIZE = 1 << 16
LONGEST = 120.0
"""Seconds. Longer than any deadline the command line accepts."""


def bucket(microseconds: int) -> int:
    """Return the index of the bucket that counts `microseconds` (0 or more)."""
    shift = microseconds.bit_length() - _SUB_BUCKET_BITS
    if shift <= 0:
        return microseconds
    return (shift << _HALF_BITS) + (microseconds >> shift)


def lowest(index: int) -> int:
    """Return the least number of microseconds that bucket `index` counts."""
    shift = (index >> _HALF_BITS) - 1
    if shift <= 0:
        return index
    return (index - (shift << _HALF_BITS)) << shift


def highest(index: int) -> int:
    """Return the greatest number of microseconds that bucket `index` counts."""
    return lowest(index + 1) - 1


BUCKETS = bucket(int(LONGEST * 1e6)) + 1
BUCKET_OF = [bucket(value) for value in range(_TABLE_SIZE)]
"""Index by whole microseconds below 65,536: one look-up instead of arithmetic on the hot path."""


def slow_bucket(microseconds: int) -> int:
    """Return the bucket of a value outside the table: longer than 65 ms, or negative."""
    if microseconds < 0:
        return 0
    return min(bucket(microseconds), BUCKETS - 1)


Counts = Mapping[int, int]
"""A histogram at rest: how many values fell into each bucket, empty buckets left out."""


class IntervalHistogram(msgspec.Struct, frozen=True):
    """The latencies of one tag that were counted in one stretch of the run."""

    tag: str
    start: float
    """Seconds since the run's start."""
    length: float
    """Seconds."""
    counts: Counts


def sparse(dense: list[int]) -> dict[int, int]:
    """Return the buckets of a hot-path list that are not empty."""
    return {index: count for index, count in enumerate(dense) if count}


def merged(histograms: Iterable[Counts]) -> dict[int, int]:
    """Return the sum of several histograms."""
    total: dict[int, int] = {}
    for counts in histograms:
        for index, count in counts.items():
            total[index] = total.get(index, 0) + count
    return total


def by_tag(intervals: Iterable[IntervalHistogram]) -> dict[str, Counts]:
    """Return the whole run's histogram of each tag."""
    parts: dict[str, list[Counts]] = {}
    for interval in intervals:
        parts.setdefault(interval.tag, []).append(interval.counts)
    return {tag: merged(counts) for tag, counts in parts.items()}


def quantile(counts: Counts, q: float) -> float:
    """Return the latency in seconds that the fraction `q` of values do not exceed.

    As HdrHistogram does, the answer is the upper edge of the bucket the value fell into.

    Raises:
        ValueError: when the histogram is empty.
    """
    total = sum(counts.values())
    if total == 0:
        raise ValueError("an empty histogram has no quantiles")
    rank = max(1, min(total, round(q * total + 0.5 - 1e-9)))
    seen = 0
    for index in sorted(counts):
        seen += counts[index]
        if seen >= rank:
            return highest(index) / 1e6
    raise AssertionError("unreachable: rank is at most the total")  # pragma: no cover


def describe(counts: Counts) -> Latency | None:
    """Return the summary of a histogram, or None when nothing was measured."""
    total = sum(counts.values())
    if total == 0:
        return None
    middle = sum((lowest(i) + highest(i)) / 2 * n for i, n in counts.items())
    return Latency(
        count=total,
        mean=middle / total / 1e6,
        p50=quantile(counts, 0.50),
        p90=quantile(counts, 0.90),
        p99=quantile(counts, 0.99),
        p99_9=quantile(counts, 0.999),
        max=highest(max(counts)) / 1e6,
    )
