"""Histograms: the layout, and what they say, against sorted data and HdrHistogram itself."""

from __future__ import annotations

import math

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from loadgen.accounting import latency
from loadgen.accounting.latency import (
    BUCKETS,
    Counts,
    bucket,
    describe,
    highest,
    lowest,
    merged,
    quantile,
)

_LONGEST = int(latency.LONGEST * 1e6)
_microseconds = st.one_of(st.integers(0, 600), st.integers(0, 100_000), st.integers(0, _LONGEST))
_values = st.lists(_microseconds, min_size=1, max_size=200)


def _counts(values: list[int]) -> dict[int, int]:
    return merged({bucket(value): 1} for value in values)


@given(_microseconds)
def test_a_value_lies_between_the_edges_of_its_bucket(value: int) -> None:
    index = bucket(value)
    assert lowest(index) <= value <= highest(index)
    assert highest(index) - lowest(index) <= value / 128


@given(st.integers(0, BUCKETS - 1))
def test_edges_and_buckets_are_inverse(index: int) -> None:
    assert bucket(lowest(index)) == bucket(highest(index)) == index
    assert lowest(index + 1) == highest(index) + 1


def test_below_256_microseconds_a_bucket_is_one_microsecond() -> None:
    assert [bucket(value) for value in range(256)] == list(range(256))


def test_the_hot_path_table_is_the_arithmetic() -> None:
    assert [bucket(value) for value in range(len(latency.BUCKET_OF))] == latency.BUCKET_OF


@pytest.mark.parametrize(
    ("microseconds", "index"),
    [(-1, 0), (-(10**9), 0), (70_000, bucket(70_000)), (_LONGEST, BUCKETS - 1)],
)
def test_slow_values_have_a_bucket(microseconds: int, index: int) -> None:
    assert latency.slow_bucket(microseconds) == index


@given(st.integers(_LONGEST, 10**15))
def test_what_is_longer_than_the_longest_is_counted_there(microseconds: int) -> None:
    assert latency.slow_bucket(microseconds) == BUCKETS - 1


@given(_values, st.floats(0, 1))
def test_a_quantile_is_the_value_at_its_rank_within_a_bucket(values: list[int], q: float) -> None:
    ordered = sorted(values)
    rank = max(1, math.ceil(q * len(ordered) - 1e-9))
    exact = ordered[rank - 1]
    found = round(quantile(_counts(values), q) * 1e6)
    assert exact <= found <= exact + exact / 128


@given(_values)
def test_quantiles_are_hdrhistograms(values: list[int]) -> None:
    """At every rank, the same upper edge as an HdrHistogram of two significant digits."""
    reference = HdrHistogram(1, _LONGEST, 2)
    for value in values:
        assert reference.record_value(value)
    counts, total = _counts(values), len(values)
    for rank in range(1, total + 1):
        expected = reference.get_value_at_percentile(100 * rank / total)
        assert round(quantile(counts, rank / total) * 1e6) == expected


@given(st.lists(_values, min_size=1, max_size=4))
def test_merging_is_counting_everything_at_once(parts: list[list[int]]) -> None:
    together = [value for part in parts for value in part]
    assert merged(map(_counts, parts)) == _counts(together)
    assert merged(map(_counts, reversed(parts))) == _counts(together)


@given(_values)
def test_a_description_holds_the_count_the_mean_and_ordered_percentiles(values: list[int]) -> None:
    found = describe(_counts(values))
    assert found is not None
    assert found.count == len(values)
    assert found.mean * 1e6 == pytest.approx(sum(values) / len(values), rel=1 / 128, abs=1e-6)
    ordered = [found.p50, found.p90, found.p99, found.p99_9, found.max]
    assert ordered == sorted(ordered)
    assert max(values) <= round(found.max * 1e6) <= max(values) * (1 + 1 / 128)


@pytest.mark.parametrize("empty", [{}, {5: 0}])
def test_an_empty_histogram_says_nothing(empty: Counts) -> None:
    assert describe(empty) is None
    with pytest.raises(ValueError, match="no quantiles"):
        quantile(empty, 0.5)


def test_sparse_keeps_what_was_counted() -> None:
    assert latency.sparse([0, 2, 0, 1]) == {1: 2, 3: 1}
