"""Cases at rates that a slow machine carries: what they say stays what it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.capacity import forecast
from lab.sweep.carried import FEWEST, LONGEST, carried
from lab.sweep.cases import CASES, TOLERANCES, Case
from lab.sysctl.tuning import parse
from tests.lab.sweep.test_cases import PREDICTED, _situation

BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fast_machine_runs_them_as_they_are(case: Case) -> None:
    assert carried(case, 20_000) is case


@given(st.sampled_from(CASES), st.floats(1, 8_000))
def test_a_slow_machine_is_asked_for_no_more_than_it_carries(case: Case, most: float) -> None:
    slow = carried(case, most)
    if slow is None:
        assert most < case.rate
        return
    assert slow.rate <= max(most * 1.05, most + 1) or slow is case
    assert slow.duration <= max(LONGEST, case.duration)
    assert slow.name == case.name
    for few in (slow.ports, slow.margin):
        assert few is None or few >= FEWEST
    parse(slow.settings, name="x", source="x")


@pytest.mark.parametrize("most", [1_400, 900, 300])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_counted_or_timed_stays_the_same(case: Case, most: float) -> None:
    slow = carried(case, most)
    if slow is None or case.name == "slow search":  # which hangs on the rate, and says so
        return
    predicted = case.predict(forecast(_situation(slow)))
    assert predicted is not None
    if case.quantity == "rate":
        assert predicted == pytest.approx(PREDICTED[case.name] * slow.rate / case.rate, rel=0.02)
        assert predicted < slow.rate
    else:
        assert predicted == pytest.approx(PREDICTED[case.name], rel=TOLERANCES[case.quantity])


def test_the_words_say_how_many_ports_there_are() -> None:
    slow = carried(BY_NAME["reuse"], 300)
    assert slow is not None
    assert slow.situation == "200 ports, reuse after 1 s"
    assert "ip_local_port_range = 40000 40199" in slow.settings


def test_a_case_that_would_outlast_time_wait_is_not_run() -> None:
    assert carried(BY_NAME["default range"], 300) is None
    assert carried(BY_NAME["reuse"], 30) is None
