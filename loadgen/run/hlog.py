"""HdrHistogram's interval log (version 1.2, tagged lines): lines written, read and added up. Pure.

Values are microseconds, start and length of an interval are seconds since the run's start. The
histograms keep two significant digits, which is exactly the layout of `loadgen.accounting.latency`:
nothing is lost between them, and a histogram of ours is added to another without looking at a bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, compress, count
from typing import Final

import msgspec
from hdrh.codec import HdrHistogramEncoder
from hdrh.histogram import HdrHistogram

from loadgen.accounting import latency
from loadgen.accounting.latency import IntervalHistogram
from loadgen.accounting.messages import TAGS
from loadgen.units import LONGEST

HEADER: Final = (
    "#[Histogram log format version 1.2]\n"
    "#[values are microseconds, timestamps are seconds since the run's start]\n"
    '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
)
_LONGEST: Final = int(latency.LONGEST * 1e6)
_INDICES: Final = tuple(range(latency.BUCKETS))
"""The same numbers for all histograms that are read: a long run has thousands of them."""
_DIGITS: Final = 2
_TAGS: Final = frozenset(TAGS)
_PAYLOAD: Final = 1 << 16
"""Signs of a payload; ours have up to seven thousand, and it unpacks to at most a thousand times that."""
_MOST_DIGITS: Final = 3
_HIGHEST: Final = 1 << 33
"""Of the histograms that are read, which other tools may have written: two hours in microseconds."""
_MOST_VALUES: Final = 1 << 53


class Logged(msgspec.Struct, frozen=True):
    """One line of a log, its histogram as it stands there."""

    tag: str
    start: float
    length: float
    payload: str


def line(interval: IntervalHistogram) -> str:
    """Return one line of an interval log, newline included."""
    histogram = _empty()
    # Our own layout, index for index. Recording value by value takes the coordinator 10 ms a second,
    # of which the worker on the same CPU knows nothing but that its arrivals are late.
    counts = {index: number for index, number in interval.counts.items() if number}
    for index, number in counts.items():
        histogram.counts[index] = number
    if counts:
        histogram.set_internal_tacking_values(min(counts), max(counts), sum(counts.values()))
    payload = histogram.encode().decode("ascii")
    greatest = histogram.get_max_value() / 1e6
    return (
        f"Tag={interval.tag},{interval.start:.3f},{interval.length:.3f},{greatest:.6f},{payload}\n"
    )


def logged(lines: Iterable[str]) -> Iterator[Logged]:
    """Yield the lines that are whole to look at; a payload may yet turn out to be damaged."""
    for text in lines:
        fields = text.strip().split(",")
        tag = fields[0].removeprefix("Tag=")
        if len(fields) != 5 or tag not in _TAGS or len(fields[4]) > _PAYLOAD:
            continue
        try:
            start, length = float(fields[1]), float(fields[2])
        except ValueError:
            continue
        if 0 <= start <= LONGEST and 0 <= length <= LONGEST:
            yield Logged(tag, start, length, fields[4])


def intervals(lines: Iterable[str]) -> Iterator[IntervalHistogram]:
    """Yield what is on the whole lines."""
    for found in logged(lines):
        try:
            counts = _counts(_histogram(found.payload))
        except Exception:  # noqa: BLE001, S112 - a damaged payload fails in many ways inside hdrh
            continue
        if sum(counts.values()) <= _MOST_VALUES:
            yield IntervalHistogram(found.tag, found.start, found.length, counts)


class Sums:
    """Adds up the intervals of several logs: those of one tag that begin at the same millisecond.

    A fleet's minute is 300 histograms from each of its shards, and a loop over their buckets would
    take control longer than the run. hdrh adds them in C, 20 µs each.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[float, str], HdrHistogram] = {}
        self._lengths: dict[tuple[float, str], float] = {}
        self._other = _empty()

    def add(self, found: Logged) -> None:
        """Take one interval; one whose payload is damaged counts for nothing."""
        try:
            payload = HdrHistogramEncoder.decode(found.payload)
            header = payload.payload
            ours = (
                header.lowest_trackable_value == 1
                and header.highest_trackable_value == _LONGEST
                and header.significant_figures == _DIGITS
            )
            if ours:
                payload.init_counts(self._other.counts_len)
        except Exception:  # noqa: BLE001 - a damaged payload fails in many ways inside hdrh
            return
        key = round(found.start, 3), found.tag
        total = self._sums.get(key)
        if total is None:
            total = self._sums[key] = _empty()
        self._lengths[key] = max(self._lengths.get(key, 0.0), found.length)
        if ours:
            self._other.encoder.payload = payload
            total.encoder.add(self._other.encoder)
            return
        for interval in intervals([f"Tag={found.tag},0,0,0,{found.payload}"]):
            for bucket, number in interval.counts.items():
                total.counts[min(bucket, latency.BUCKETS - 1)] += number

    def result(self) -> list[IntervalHistogram]:
        """Return the sums, in the order of their starts."""
        return [
            IntervalHistogram(tag, start, self._lengths[start, tag], _counts(histogram))
            for (start, tag), histogram in sorted(self._sums.items(), key=lambda item: item[0])
        ]


def _histogram(payload: str) -> HdrHistogram:
    """Return the histogram that a payload holds, as `HdrHistogram.decode` does for any of them.

    Raises:
        ValueError: when it is laid out as no histogram of latencies is, and would take memory for it.
        Exception: of the many kinds that a damaged payload has.
    """
    found = HdrHistogramEncoder.decode(payload)
    header = found.payload
    lowest, highest = header.lowest_trackable_value, header.highest_trackable_value
    if not (1 <= lowest <= highest <= _HIGHEST and 1 <= header.significant_figures <= _MOST_DIGITS):
        raise ValueError("no histogram of latencies")
    return HdrHistogram(lowest, highest, header.significant_figures, hdr_payload=found)


def _empty() -> HdrHistogram:
    return HdrHistogram(1, _LONGEST, _DIGITS)


def _counts(histogram: HdrHistogram) -> dict[int, int]:
    if histogram.sub_bucket_count == latency.SUB_BUCKETS and histogram.unit_magnitude == 0:
        # Our own layout, index for index. A report reads thousands of these, and the package's
        # iterator takes milliseconds for each.
        dense = memoryview(histogram.counts).cast("B").cast("L").tolist()
        indices = chain(_INDICES, count(len(_INDICES)))
        return dict(zip(compress(indices, dense), filter(None, dense), strict=True))
    counts: dict[int, int] = {}
    for item in histogram.get_recorded_iterator():
        index = latency.bucket(int(item.value_iterated_to))
        counts[index] = counts.get(index, 0) + item.count_at_value_iterated_to
    return counts
