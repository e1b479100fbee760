"""Pacing by cost, and backing off, on a clock of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.sampling.pace import Backoff, Pace


def test_the_first_reading_is_due_at_once() -> None:
    assert Pace(0.01).due(-1e9)


def test_the_next_reading_waits_until_it_is_paid_for() -> None:
    pace = Pace(0.005)
    pace.paid(10.0, 0.017)
    assert not pace.due(13.39)
    assert pace.due(13.41)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share of one core"):
        Pace(share)


@given(
    share=st.floats(0.001, 1),
    costs=st.lists(st.floats(1e-6, 0.05), min_size=2, max_size=50),
    interval=st.floats(0.01, 0.5),
)
def test_the_cost_stays_within_the_share(share: float, costs: list[float], interval: float) -> None:
    """Whatever readings cost: all but the last, over the time that has passed."""
    pace = Pace(share)
    now = 0.0
    for cost in costs:
        while not pace.due(now):
            now += interval
        now += cost
        pace.paid(now, cost)
    assert sum(costs[:-1]) <= share * now * (1 + 1e-9)


def test_backing_off_grows_to_a_limit_and_starts_again() -> None:
    backoff = Backoff()
    now, waits = 0.0, []
    for _ in range(7):
        backoff.failed(now)
        start = now
        while not backoff.due(now):
            now += 0.25
        waits.append(now - start)
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]
    backoff.succeeded()
    assert backoff.due(now)
    backoff.failed(now)
    assert backoff.due(now + 0.5)
