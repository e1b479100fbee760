"""Schedules: how many arrivals, when, and that shards make the whole exactly."""

from __future__ import annotations

import itertools
import math
from itertools import pairwise
from statistics import mean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.config.schedule import Constant, Poisson, Ramp, Schedule, Steps, parse_schedule

_rate = st.floats(0.5, 2000)
_duration = st.floats(0.05, 3)
_shards = st.integers(1, 7)


def _whole(law: Schedule, shards: int) -> list[float]:
    return sorted(due for shard in range(shards) for due in law.arrivals(shard, shards))


@pytest.mark.parametrize(
    ("law", "due"),
    [
        (Constant(4, 1), [0, 0.25, 0.5, 0.75]),
        (Constant(0.5, 5), [0, 2, 4]),
        (Constant(0, 5), []),
        (Steps((2, 4), 2), [0, 0.5, 1, 1.25, 1.5, 1.75]),
        (Steps((0, 2), 2), [1, 1.5]),
        (Steps((2, 0, 2), 3), [0, 0.5, 2, 2.5]),
        (Ramp(4, 4, 1), [0, 0.25, 0.5, 0.75]),
        (Ramp(0, 2, 2), [0, math.sqrt(2)]),
        (Ramp(2, 0, 2), [0, 2 - math.sqrt(2)]),
    ],
)
def test_arrivals_fall_due(law: Schedule, due: list[float]) -> None:
    assert list(law.arrivals()) == pytest.approx(due)


@pytest.mark.parametrize(
    ("law", "count", "mean_rate"),
    [
        (Constant(20_000, 1.5), 30_000, 20_000),
        (Ramp(0, 1000, 4), 2000, 500),
        (Ramp(1000, 0, 4), 2000, 500),
        (Ramp(500, 1500, 2), 2000, 1000),
        (Steps((100, 200, 300), 3), 600, 200),
    ],
)
def test_as_many_fall_due_as_rate_times_duration(
    law: Schedule, count: int, mean_rate: float
) -> None:
    assert sum(1 for _ in law.arrivals()) == count
    assert law.mean_rate == mean_rate


@given(
    st.one_of(
        st.builds(Constant, _rate, _duration),
        st.builds(Ramp, _rate, _rate, _duration),
        st.builds(Ramp, st.just(0.0), _rate, _duration),
        st.builds(Ramp, _rate, st.just(0.0), _duration),
        st.builds(
            Steps,
            st.lists(st.one_of(st.just(0.0), _rate), min_size=1, max_size=4).map(tuple),
            _duration,
        ),
    ),
    _shards,
)
def test_shards_make_exactly_the_whole(law: Schedule, shards: int) -> None:
    whole = list(law.arrivals())
    assert whole == sorted(whole)
    assert all(0 <= due < law.duration for due in whole)  # type: ignore[attr-defined]
    assert _whole(law, shards) == whole
    assert [law.due(index) for index in range(len(whole) + 1)] == [*whole, math.inf]  # type: ignore[attr-defined]


def test_a_shard_of_many_goes_through_its_own_arrivals_only() -> None:
    """A shard of a thousand that went through all the others' would be late from the start."""
    law = Steps((1e12, 2e12), 2000)
    found = law.arrivals(7, 10**14)
    assert list(itertools.islice(found, 12)) == [
        *(pytest.approx(7e-12 + number * 100) for number in range(10)),
        *(pytest.approx(1000 + 3.5e-12 + number * 50) for number in range(2)),
    ]


@given(
    st.one_of(
        st.builds(Constant, _rate, _duration),
        st.builds(Ramp, _rate, _rate, _duration),
        st.builds(Steps, st.lists(_rate, min_size=1, max_size=4).map(tuple), _duration),
    ),
    st.floats(-1, 4),
)
def test_what_is_due_by_a_moment_is_what_fell_due_until_then(law: Schedule, t: float) -> None:
    """To within one arrival, or one a step: the law is smooth, arrivals are whole."""
    steps = len(law.rates) if isinstance(law, Steps) else 1
    assert law.due_by(t) == pytest.approx(
        sum(1 for due in law.arrivals() if due < t), abs=steps + 1e-6
    )
    assert law.due_by(0) == 0
    assert law.due_by(10) == pytest.approx(law.mean_rate * law.duration)  # type: ignore[attr-defined]


def test_a_poisson_process_is_due_at_its_mean_rate() -> None:
    assert [Poisson(50, 2).due_by(t) for t in (-1, 0, 1, 2, 3)] == [0, 0, 50, 100, 100]


@given(st.floats(0, 500), st.floats(0, 500), st.floats(0.1, 4))
def test_a_ramp_is_the_inverse_of_the_number_due(start: float, end: float, duration: float) -> None:
    """By the time of the j-th arrival, j arrivals were due: start·t + m·t²/2 = j."""
    if not start + end:
        end = 1.0
    slope = (end - start) / duration
    for j, t in enumerate(Ramp(start, end, duration).arrivals()):
        assert start * t + slope * t * t / 2 == pytest.approx(j, rel=1e-6, abs=1e-3)


def test_a_constant_schedule_does_not_drift() -> None:
    """The last of 300,000 arrivals is due where a division puts it, not where a sum would."""
    *_, last = Constant(3000, 100).arrivals()
    assert last == 299_999 / 3000


def test_a_poisson_process_has_its_rate_and_exponential_gaps() -> None:
    """For exponential gaps the deviation equals the mean; fixed seed, bounds of four sigma."""
    due = list(Poisson(5000, 10, seed=7).arrivals())
    gaps = [after - before for before, after in pairwise(due)]
    usual = mean(gaps)
    assert len(due) == pytest.approx(50_000, abs=4 * math.sqrt(50_000))
    assert pstdev(gaps, usual) / usual == pytest.approx(1, abs=0.03)
    assert sum(gap > usual for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.01)
    assert due == sorted(due)
    assert max(due) < 10


def test_poisson_shards_are_independent_and_add_up_to_the_rate() -> None:
    law = Poisson(5000, 4, seed=3)
    parts = [list(law.arrivals(shard, 4)) for shard in range(4)]
    assert len({tuple(part[:5]) for part in parts}) == 4
    assert sum(map(len, parts)) == pytest.approx(20_000, abs=4 * math.sqrt(20_000))


def test_a_poisson_process_is_the_same_for_the_same_seed_only() -> None:
    first = list(Poisson(100, 1, seed=1).arrivals())
    assert first == list(Poisson(100, 1, seed=1).arrivals())
    assert first != list(Poisson(100, 1, seed=2).arrivals())


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ("constant", Constant(50, 2)),
        ("poisson", Poisson(50, 2, 9)),
        ("ramp:0-100", Ramp(0, 100, 2)),
        ("ramp:100-0", Ramp(100, 0, 2)),
        ("steps:10", Steps((10,), 2)),
        ("steps:0,10,20.5", Steps((0, 10, 20.5), 2)),
    ],
)
def test_a_schedule_is_read(text: str, law: Schedule) -> None:
    assert parse_schedule(text, rate=50, duration=2, seed=9) == law


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a schedule: write constant, poisson"),
        ("linear", "is not a schedule"),
        ("constant:5", "is not a schedule"),
        ("ramp", "is not a schedule"),
        ("ramp:5", "is not a schedule"),
        ("steps:", "is not a schedule"),
        ("ramp:a-5", "'a' in 'ramp:a-5' is not a rate"),
        ("ramp:5-", "'' in 'ramp:5-' is not a rate"),
        ("ramp:nan-5", "'nan' in 'ramp:nan-5' is not a rate"),
        ("ramp:1-inf", "'inf' in 'ramp:1-inf' is not a rate"),
        ("steps:1,,2", "'' in 'steps:1,,2' is not a rate"),
        ("steps:1,-2", "'-2' in 'steps:1,-2' is not a rate"),
        ("steps:0,0", "has no arrivals"),
        ("ramp:0-0", "has no arrivals"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_schedule(text, rate=50, duration=2)


@pytest.mark.parametrize("rate", [None, 0.0, -1.0, math.nan])
def test_constant_and_poisson_need_a_rate(rate: float | None) -> None:
    for text in ("constant", "poisson"):
        with pytest.raises(ValueError, match="needs --rate"):
            parse_schedule(text, rate=rate, duration=2)
