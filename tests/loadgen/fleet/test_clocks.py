"""How far clocks are apart, and how well that is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.fleet import clocks
from loadgen.fleet.clocks import Answer
from loadgen.summary import Clock


@given(
    shift=st.floats(-1e6, 1e6),
    there=st.floats(0, 1),
    back=st.floats(0, 1),
    asked=st.floats(0, 1e6),
)
def test_the_truth_lies_within_the_uncertainty(
    shift: float, there: float, back: float, asked: float
) -> None:
    """Whatever the network did, in either direction."""
    answer = Answer(asked, asked + there + back, asked + there + shift, 0.0)
    assert abs(answer.shift - shift) <= answer.uncertainty + 1e-6


def test_the_quickest_answer_counts() -> None:
    slow, quick = Answer(0.0, 0.4, 7.0, 0.0), Answer(1.0, 1.002, 8.0, 0.0)
    assert clocks.best([slow, quick]) == quick
    assert clocks.best([]) is None


def test_a_clock_that_was_read_twice_shows_its_drift() -> None:
    before, after = Answer(0.0, 0.002, 5.001, 0.25), Answer(60.0, 60.002, 65.021, 0.25)
    found = clocks.clock(before, after)
    assert (found.offset, found.uncertainty) == (0.25, 0.001)
    assert found.drift == pytest.approx(0.02)
    assert clocks.clock(before, None).drift is None


@pytest.mark.parametrize(
    ("uncertainty", "drift", "codes"),
    [
        (0.0004, None, []),
        (0.0049, 0.0049, []),
        (0.0051, 0.0, ["clock_uncertain"]),
        (0.001, -0.0062, ["clock_drift"]),
        (0.02, 0.03, ["clock_uncertain", "clock_drift"]),
    ],
)
def test_beyond_five_milliseconds_it_is_said(
    uncertainty: float, drift: float | None, codes: list[str]
) -> None:
    good = Clock(offset=30.0, uncertainty=0.0001, drift=0.0)
    bad = Clock(offset=0.0, uncertainty=uncertainty, drift=drift)
    found = clocks.disagreements([("shard 1 on a", good), ("shard 2 on b", bad)])
    assert [code for code, _, _ in found] == codes
    assert all("shard 2 on b" in text for _, text, _ in found)
