"""Statistics, checked against scipy and against counting everything out by hand."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from lab.analysis.stats import (
    EXACT_UP_TO,
    cliffs_delta,
    mann_whitney,
    median_interval,
    trials_for_interval,
    trials_for_test,
)

distinct = st.lists(st.integers(-1000, 1000), min_size=2, max_size=16, unique=True)
tied = st.lists(st.integers(0, 3), min_size=1, max_size=5)


def test_trials_needed() -> None:
    """Six trials bracket the median with 95 %, four can reach p <= 0.05."""
    assert trials_for_interval(0.95) == 6
    assert trials_for_test(0.05) == 4
    assert trials_for_test(0.01) == 5


@pytest.mark.parametrize(
    ("n", "low", "high", "confidence"),
    [
        (1, 1, 1, 0.0),
        (2, 1, 2, 0.5),
        (5, 1, 5, 0.9375),
        (6, 1, 6, 0.96875),
        (8, 1, 8, 0.9921875),
        (9, 2, 8, 0.9609375),
        (10, 2, 9, 0.978515625),
        (20, 6, 15, 0.958610534667969),
    ],
)
def test_interval_table(n: int, low: int, high: int, confidence: float) -> None:
    """The ranks of the published tables for the sign interval (two-sided, 95 %)."""
    found = median_interval(list(range(n, 0, -1)))
    assert (found.low, found.high, found.n) == (low, high, n)
    assert found.confidence == pytest.approx(confidence)


@given(st.integers(6, 60))
def test_interval_confidence_is_scipys_binomial(n: int) -> None:
    found = median_interval(range(n))
    k = int(found.low) + 1
    assert found.confidence == pytest.approx(1 - 2 * scipy_stats.binom.cdf(k - 1, n, 0.5))
    assert found.confidence >= 0.95
    narrower = 1 - 2 * scipy_stats.binom.cdf(k, n, 0.5)
    assert narrower < 0.95


def test_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        median_interval([])


@given(distinct, st.integers(1, 15))
def test_rank_test_is_scipys_exact_one_without_ties(values: list[int], cut: int) -> None:
    cut = min(cut, len(values) - 1)
    before, after = values[:cut], values[cut:]
    expected = scipy_stats.mannwhitneyu(before, after, method="exact").pvalue
    assert mann_whitney(before, after) == pytest.approx(expected)


@given(tied, tied)
def test_rank_test_with_ties_counts_all_permutations(before: list[int], after: list[int]) -> None:
    """Every way to deal the values out to the two arms, ranked by scipy, counted one by one."""
    together = before + after
    ranks = scipy_stats.rankdata(together)
    observed = sum(ranks[: len(before)])
    sums = [sum(ranks[list(c)]) for c in combinations(range(len(together)), len(before))]
    low = sum(s <= observed for s in sums) / len(sums)
    high = sum(s >= observed for s in sums) / len(sums)
    assert mann_whitney(before, after) == pytest.approx(min(1, 2 * min(low, high)))


@given(st.lists(st.integers(0, 50), min_size=31, max_size=50), st.data())
def test_rank_test_of_many_trials_is_scipys_asymptotic_one(
    before: list[int], data: st.DataObject
) -> None:
    after = data.draw(st.lists(st.integers(0, 60), min_size=31, max_size=50))
    assert len(before) + len(after) > EXACT_UP_TO
    if len({*before, *after}) == 1:
        assert mann_whitney(before, after) == 1
        return
    expected = scipy_stats.mannwhitneyu(before, after, method="asymptotic").pvalue
    assert mann_whitney(before, after) == pytest.approx(min(1, expected))


@given(tied, tied)
def test_rank_test_is_symmetric_and_a_probability(before: list[int], after: list[int]) -> None:
    p = mann_whitney(before, after)
    assert 0 < p <= 1
    assert p == pytest.approx(mann_whitney(after, before))
    assert mann_whitney(before, before) == 1


def test_never_ranks_last() -> None:
    """Infinity stands for what did not happen, and ties with itself."""
    never = [math.inf] * 5
    assert mann_whitney([0.7] * 5, never) == pytest.approx(2 / math.comb(10, 5))
    assert mann_whitney(never, never) == 1


@pytest.mark.parametrize(("before", "after"), [([], [1]), ([1], [])])
def test_empty_arms_are_refused(before: list[int], after: list[int]) -> None:
    with pytest.raises(ValueError, match="without trials"):
        mann_whitney(before, after)
    with pytest.raises(ValueError, match="without trials"):
        cliffs_delta(before, after)


def test_not_a_number_has_no_rank() -> None:
    with pytest.raises(ValueError, match="not a number"):
        mann_whitney([1.0], [math.nan])


@given(tied, tied)
def test_effect_is_the_u_statistic_rescaled(before: list[int], after: list[int]) -> None:
    u = scipy_stats.mannwhitneyu(after, before).statistic
    assert cliffs_delta(before, after) == pytest.approx(2 * u / (len(before) * len(after)) - 1)
