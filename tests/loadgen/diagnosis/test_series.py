"""Series answer as a walk through all samples would, and a run is concluded in linear time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.diagnosis.series import Series, by_metric
from loadgen.run.conclude import About, Ended, conclude
from loadgen.sample import Sample
from loadgen.summary import Number
from tests.loadgen.builders import about, generator_sample, run_config

_moments = st.integers(-3, 12).map(float)
_readings = st.lists(
    st.tuples(_moments, st.none() | st.integers(0, 5)), unique_by=lambda pair: pair[0]
).map(lambda pairs: sorted(pairs, key=lambda pair: pair[0]))
"""A role has one sample a moment."""
Readings = Sequence[tuple[float, Number | None]]


def series_of(readings: Readings) -> Series:
    """Return the metric `m` of samples, in some of which it was not read."""
    samples = [Sample(t, "client", {} if v is None else {"m": v}) for t, v in readings]
    return by_metric(samples).get("m", Series())


@given(_readings, _moments, st.integers(0, 6), st.none() | st.just(0))
def test_moved(readings: Readings, since: float, span: int, missing: int | None) -> None:
    until = since + span
    before: Number | None = missing
    after: Number | None = None
    for t, value in readings:
        if value is None:
            continue
        if t <= since or before is None:
            before = value
        after = value
        if t >= until:
            break
    expected = 0 if before is None or after is None else max(0, after - before)
    assert series_of(readings).moved(since, until, missing) == expected


@given(_readings)
def test_rose_at(readings: Readings) -> None:
    known = [(t, v) for t, v in readings if v is not None]
    start = next((v for t, v in reversed(known) if t <= 0), known[0][1] if known else 0)
    assert series_of(readings).rose_at() == next((t for t, v in known if v > start), None)


@given(_readings, _moments, st.integers(0, 6))
def test_still(readings: Readings, since: float, span: int) -> None:
    during = [v for t, v in readings if v is not None and since <= t <= since + span]
    expected = len(during) > 1 and during[0] == during[-1]
    assert series_of(readings).still(since, since + span) == expected


@given(_readings)
def test_most_and_increments(readings: Readings) -> None:
    known = [(t, v) for t, v in readings if v is not None]
    series = series_of(readings)
    assert series.most() == (
        max(((v, t) for t, v in known), key=lambda pair: pair[0]) if known else None
    )
    grown = list(series.increments())
    assert all(count > 0 for _, count in grown)
    if known:
        assert sum(count for _, count in grown) >= known[-1][1]


# --- linear in a run's length -------------------------------------------------------------------


def silent(ticks: int) -> tuple[About, list[Sample]]:
    """Return a run whose server never answers: in each tick a hundred attempts time out."""
    config = run_config(addresses=[("198.18.0.2", 11211)], timeout=1.0, duration=ticks / 10)
    samples = []
    for number in range(ticks + 1):
        t = number / 10
        failed = max(0, number - 10) * 100
        counts: dict[str, Number] = {"started": number * 100, "scheduled": number * 100, "ok": 0}
        if failed:
            counts |= {"failed": failed, "outcome_reply_timeout": failed}
        samples.append(generator_sample(t, **counts))
        for role in ("client", "server"):
            counters = ("netstat_Tcp_InSegs", "netstat_TcpExt_TW", "netstat_Tcp_RetransSegs")
            samples.append(Sample(t, role, dict.fromkeys(counters, 7)))
    return about(config, Ended(elapsed=ticks / 10)), samples


def steps(call: Callable[[], object]) -> int:
    """Return how many lines of Python a call executes, however quick the machine is."""
    count = 0

    def trace(_frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def test_a_silent_run_is_concluded_in_time_linear_in_its_length() -> None:
    """Each tick with failures asks what the server did meanwhile; the answer is looked up."""
    known, samples = silent(150)
    (cause,) = conclude(known, samples, {}).causes
    assert cause.cause == "server_silent"
    short, long = (steps(partial(conclude, *silent(ticks), {})) for ticks in (150, 600))
    assert long / short == pytest.approx(4, rel=0.15)
