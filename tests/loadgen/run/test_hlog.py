"""An interval log's histograms, added up without looking at a bucket."""

from __future__ import annotations

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from loadgen.accounting import latency
from loadgen.accounting.latency import IntervalHistogram
from loadgen.run import hlog
from loadgen.run.hlog import Logged, Sums

_counts = st.dictionaries(
    st.integers(0, latency.BUCKETS - 1), st.integers(1, 10**12), min_size=1, max_size=20
)
_intervals = st.builds(
    IntervalHistogram,
    st.sampled_from(["connect", "total"]),
    st.integers(0, 2).map(float),
    st.sampled_from([0.5, 1.0]),
    _counts,
)


def logged(*intervals: IntervalHistogram) -> list[Logged]:
    return list(hlog.logged(map(hlog.line, intervals)))


@given(st.lists(_intervals, max_size=8))
def test_the_sum_of_logs_is_the_sum_of_their_histograms(intervals: list[IntervalHistogram]) -> None:
    sums = Sums()
    for line in logged(*intervals):
        sums.add(line)
    found = sums.result()
    assert [(one.start, one.tag) for one in found] == sorted(
        {(one.start, one.tag) for one in intervals}
    )
    for one in found:
        same = [other for other in intervals if (other.start, other.tag) == (one.start, one.tag)]
        assert one.counts == latency.merged(other.counts for other in same)
        assert one.length == max(other.length for other in same)


@pytest.mark.parametrize(
    "payload", ["", "HISTFAAA", "%%%", "HISTFAAAACF42pNpmSzMwMDAxgABzFCaEUoz2X"]
)
def test_a_damaged_payload_counts_for_nothing(payload: str) -> None:
    whole = IntervalHistogram("total", 0.0, 1.0, {5: 2})
    sums = Sums()
    (one,) = logged(whole)
    sums.add(one)
    sums.add(msgspec.structs.replace(one, payload=payload))
    sums.add(msgspec.structs.replace(one, payload=payload, start=1.0))
    assert sums.result() == [whole]


def test_a_payload_that_was_cut_anywhere_counts_for_nothing() -> None:
    (one,) = logged(IntervalHistogram("total", 0.0, 1.0, {5: 2, 700: 1}))
    sums = Sums()
    for length in range(len(one.payload)):
        sums.add(msgspec.structs.replace(one, payload=one.payload[:length]))
    assert sums.result() == []


def test_another_program_s_histogram_is_added_value_by_value() -> None:
    """Three digits, up to an hour: other buckets than ours."""
    histogram = HdrHistogram(1, 3_600_000_000, 3)
    for value in (7, 7, 1500, 3_000_000_000):
        histogram.record_value(value)
    sums = Sums()
    sums.add(Logged("total", 0.0, 1.0, histogram.encode().decode()))
    ours = {7: 2, latency.bucket(1500): 1, latency.BUCKETS - 1: 1}
    assert sums.result() == [IntervalHistogram("total", 0.0, 1.0, ours)]
