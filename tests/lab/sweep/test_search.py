"""The bracketing search against worlds whose capacity is known."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lab.sweep.search import COARSE, LIMITED_TRIES, Bracketing, TrialEnd, fisher

World = Callable[[float], TrialEnd]


def world(capacity: float, reach: float = float("inf")) -> World:
    """Clean up to `capacity`, losing above it; rates above `reach` cannot be made."""

    def trial(rate: float) -> TrialEnd:
        if rate > reach:
            return TrialEnd.LIMITED
        return TrialEnd.CLEAN if rate <= capacity else TrialEnd.LOST

    return trial


def searched(search: Bracketing, trial: World) -> Bracketing:
    while (rate := search.next()) is not None:
        search.saw(rate, trial(rate))
    return search


def test_a_good_forecast_closes_the_bracket_with_the_second_trial() -> None:
    search = Bracketing(first=1_000 / 1.025, narrow=1.025**2)
    first = search.next()
    assert first is not None
    assert first == pytest.approx(975.6, abs=0.1)
    search.saw(first, TrialEnd.CLEAN)
    second = search.next()
    assert second is not None
    assert second == pytest.approx(1_025, abs=0.1)
    search.saw(second, TrialEnd.LOST)
    searched(search, world(1_000))
    assert search.trials <= 2 + 3 + 3 + 1
    assert search.low is not None
    assert search.high is not None
    assert search.low <= 1_000 <= search.high


@given(
    capacity=st.floats(2, 1e6),
    first=st.floats(1, 1e6),
    precision=st.floats(0.01, 0.3),
    confirm=st.integers(1, 6),
)
def test_the_bracket_holds_the_capacity_and_is_narrow(
    capacity: float, first: float, precision: float, confirm: int
) -> None:
    search = Bracketing(first=first, precision=precision, confirm=confirm, most=200)
    searched(search, world(capacity))
    assert search.low is not None
    assert search.high is not None
    assert search.low <= capacity < search.high
    assert search.high / search.low <= (1 + precision) * (1 + 1e-9)
    assert not search.only_at_least
    assert search.tallies[search.low].clean == confirm
    assert search.tallies[search.high].lost == confirm


@given(reach=st.floats(10, 1e5), factor=st.floats(1.01, 100), first=st.floats(1, 1e5))
def test_beyond_the_machines_reach_the_answer_is_at_least(
    reach: float, factor: float, first: float
) -> None:
    search = searched(Bracketing(first=first, most=200), world(reach * factor, reach))
    assert search.only_at_least
    assert search.high is None
    assert search.low is not None
    assert search.low <= reach
    assert search.unreachable is not None
    assert search.unreachable / search.low <= 1 + COARSE + 1e-9


@given(seed=st.integers(0, 10_000), capacity=st.floats(10, 1e5), noise=st.floats(0, 0.9))
def test_it_ends_in_any_world(seed: int, capacity: float, noise: float) -> None:
    """Trials that come out at random, too: the number of trials is bounded."""
    dice, trial = random.Random(seed), world(capacity)

    def noisy(rate: float) -> TrialEnd:
        return dice.choice(list(TrialEnd)) if dice.random() < noise else trial(rate)

    search = searched(Bracketing(first=capacity * dice.uniform(0.1, 10)), noisy)
    assert search.trials <= search.most
    if search.low is not None and search.high is not None:
        assert search.low < search.high


def test_a_loss_at_the_lower_end_makes_it_an_upper_end() -> None:
    search = Bracketing(first=1_000, precision=0.05, confirm=2)
    search.saw(1_000, TrialEnd.CLEAN)
    search.saw(1_040, TrialEnd.LOST)
    assert search.next() == 1_000
    search.saw(1_000, TrialEnd.LOST)
    assert search.high == 1_000
    assert search.low is None
    below = search.next()
    assert below is not None
    assert below < 1_000


def test_a_spoiled_trial_is_tried_again_and_is_no_evidence() -> None:
    search = Bracketing(first=1_000)
    for _ in range(LIMITED_TRIES):
        assert search.next() == 1_000
        search.saw(1_000, TrialEnd.LIMITED)
    assert search.low is None
    assert search.high is None
    assert search.unreachable == 1_000
    assert search.next() == pytest.approx(800)


def test_nothing_works_at_all() -> None:
    search = searched(Bracketing(first=100), lambda _: TrialEnd.LOST)
    assert search.low is None
    assert search.high is not None
    assert search.high <= 1.25
    assert search.separation() is None


@pytest.mark.parametrize(
    ("table", "p"),
    [((4, 0, 0, 4), 1 / 70), ((1, 0, 0, 1), 1 / 2), ((4, 0, 1, 3), 5 / 70), ((2, 2, 2, 2), None)],
)
def test_fishers_exact_test(table: tuple[int, int, int, int], p: float | None) -> None:
    found = fisher(*table)
    a, b, c, d = table
    assert found == pytest.approx(stats.fisher_exact([[a, b], [c, d]], "greater").pvalue)
    if p is not None:
        assert found == pytest.approx(p)
