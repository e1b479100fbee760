"""Whose doing dropped arrivals are: the kernel's port search, full flight, or the generator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.diagnosis.honesty import (
    SEARCH_CPU,
    SLOW_AT_LEAST,
    SLOW_FACTOR,
    SLOW_SHARE,
    TOLERATED_DROPS,
    WAITING_CPU,
    Attribution,
    Interval,
    attribute,
    intervals,
    saturation,
)
from loadgen.diagnosis.port_use import PortUse
from loadgen.sample import Sample
from tests.loadgen.builders import generator_sample, run_config

_USUAL = 25e-6


def interval(number: int, **changes: float) -> Interval:
    """Return the tenth of a second `number`: 1000 connects of 25 µs, nothing dropped."""
    fields: dict[str, float] = {
        "started": 1000,
        "dropped": 0,
        "failed": 0,
        "connect_calls": 1000,
        "connect_seconds": 1000 * _USUAL,
        "cpu_system": 0.03,
        "busiest": 0.6,
        "in_flight_drops": 0,
    }
    times = {"start": number / 10, "end": (number + 1) / 10}
    return Interval(**{**fields, **times, **changes})  # type: ignore[arg-type]


def searching(number: int, dropped: int = 900, **changes: float) -> Interval:
    """Return a tenth of a second that 64 connects of 1.5 ms filled, working all the time."""
    slow = {
        "connect_calls": 64,
        "connect_seconds": 64 * 1.5e-3,
        "cpu_system": 0.09,
        "started": 64,
        "busiest": 1.0,
    }
    return interval(number, dropped=dropped, **{**slow, **changes})


def test_the_collapse_is_the_port_search_s() -> None:
    """Full speed, then connect() fills the loop's time and most arrivals are dropped."""
    series = [*(interval(n) for n in range(7)), *(searching(n) for n in range(7, 20))]
    found = attribute(series, workers=1)
    assert (found.port_search, found.in_flight, found.generator) == (13 * 900, 0, 0)
    assert found.slow_since == 0.7
    assert found.baseline_connect == pytest.approx(_USUAL)
    assert found.slow_connect == pytest.approx(1.5e-3)


@pytest.mark.parametrize(
    ("worked", "search"), [(SEARCH_CPU * 1.01, True), (SEARCH_CPU * 0.99, False), (0.0, False)]
)
def test_a_search_burns_cpu_and_waiting_for_a_cpu_does_not(worked: float, search: bool) -> None:
    """Nobody knows how full the ports are: only system time per connect() tells."""
    slow = searching(1, cpu_system=worked * 64 * 1.5e-3)
    found = attribute([interval(0), slow], workers=1)
    assert (found.port_search, found.generator) == ((900, 0) if search else (0, 900))


@pytest.mark.parametrize(
    ("sockets", "pool", "worked", "search"),
    [
        (0.5, None, 0.9, True),
        (0.4, None, 0.9, False),  # nothing to search for, however busy connect() was
        (0.9, 0.2, 0.9, False),  # sockets enough, but toward many destinations
        (0.9, 0.9, WAITING_CPU * 1.01, True),  # preempted in the middle of a search
        (0.9, 0.9, WAITING_CPU * 0.99, False),
    ],
)
def test_a_search_needs_ports_to_be_scarce(
    sockets: float, pool: float | None, worked: float, search: bool
) -> None:
    values: dict[str, float] = {"sockstat_TCP_tw": sockets * 1000, "ephemeral_ports_limit": 1000}
    if pool is not None:
        values["ephemeral_ports_in_use"] = pool * 1000
    samples = [Sample(t / 10, "client", values) for t in range(5)]
    slow = searching(1, cpu_system=worked * 64 * 1.5e-3)
    found = attribute([interval(0), slow], workers=1, ports=PortUse(samples, run_config()))
    assert (found.port_search, found.generator) == ((900, 0) if search else (0, 900))


def test_what_a_slow_stretch_left_undone_is_the_port_search_s_too() -> None:
    """936 of 1,000 due arrivals were not started in it; so many drops later on are its doing."""
    series = [
        *(interval(n) for n in range(4)),
        searching(4, dropped=0),
        interval(5, dropped=50),
        interval(6, dropped=886),
        interval(7, dropped=7),
    ]
    found = attribute(series, workers=1)
    assert (found.port_search, found.generator) == (936, 7)


def test_arrivals_that_were_made_up_for_are_owed_no_more() -> None:
    """The loop starts more than are due until it has caught up; then drops are its own again."""
    series = [
        *(interval(n) for n in range(4)),
        searching(4, dropped=0),
        *(interval(n, started=1500) for n in range(5, 7)),
        interval(7, dropped=9),
    ]
    found = attribute(series, workers=1)
    assert (found.port_search, found.generator) == (0, 9)


def test_slow_stretches_once_a_second_explain_the_drops_between_them() -> None:
    """As with reuse and too few ports: each second ends in a search, and the loop never catches up."""
    second = [
        lambda n: searching(n, dropped=900),
        lambda n: interval(n, dropped=20),
        lambda n: interval(n, started=1005),
        lambda n: interval(n, dropped=3),
    ]
    series = [*(interval(n) for n in range(8)), *(second[n % 4](n) for n in range(8, 48))]
    found = attribute(series, workers=1)
    assert found.generator == 0
    assert found.port_search == 10 * 923


def test_a_slow_stretch_begins_within_an_interval() -> None:
    """Half of it went into two calls: not slow as a whole, and what was not started is owed."""
    begins = interval(8, started=502, dropped=480, connect_calls=502,
                      connect_seconds=500 * _USUAL + 0.05)  # fmt: skip
    quiet = [interval(n) for n in range(8)]
    assert attribute([*quiet, begins, searching(9)], workers=1).generator == 0
    assert attribute([*quiet, begins, interval(9)], workers=1).generator == 480


def test_a_pause_of_the_generator_after_a_slow_stretch_is_its_own() -> None:
    """More is dropped than the stretch left undone: the rest has another reason."""
    series = [*(interval(n) for n in range(4)), searching(4, dropped=900), interval(5),
              interval(6, dropped=500)]  # fmt: skip
    found = attribute(series, workers=1)
    assert (found.port_search, found.generator) == (936, 464)


def test_without_an_undisturbed_stretch_nobody_knows_what_is_owed() -> None:
    series = [interval(0, dropped=10), searching(1), interval(2, dropped=5), interval(3, dropped=7)]
    found = attribute(series, workers=1)
    assert (found.port_search, found.generator) == (905, 17)


def test_a_stall_of_the_generator_is_its_own() -> None:
    """The loop did not get the CPU: connect() is as quick as ever and arrivals are overdue."""
    series = [interval(0), interval(1, dropped=300, connect_calls=100, connect_seconds=2.5e-3)]
    found = attribute(series, workers=1)
    assert (found.port_search, found.in_flight, found.generator) == (0, 0, 300)
    assert found.slow_since is None
    assert found.slow_connect == 0


def test_one_slow_call_on_a_busy_machine_is_no_port_search() -> None:
    """Its mean is high but it did not fill the loop's time."""
    series = [interval(0), interval(1, dropped=9, connect_calls=3, connect_seconds=0.03)]
    assert attribute(series, workers=1).generator == 9


def test_full_flight_is_not_the_generator_s_doing() -> None:
    series = [interval(0), interval(1, dropped=120, in_flight_drops=100)]
    found = attribute(series, workers=1)
    assert (found.port_search, found.in_flight, found.generator) == (0, 100, 20)


def test_a_run_in_trouble_from_its_first_moment_is_still_told_apart() -> None:
    """No undisturbed stretch: the least mean stands in for it."""
    series = [interval(0, dropped=10), searching(1), searching(2)]
    found = attribute(series, workers=1)
    assert (found.port_search, found.generator) == (1800, 10)


_least = max(SLOW_FACTOR * _USUAL, SLOW_AT_LEAST)


@pytest.mark.parametrize(
    ("mean", "share", "workers", "search"),
    [
        (_least * 1.001, SLOW_SHARE * 1.001, 1, True),
        (_least * 0.999, SLOW_SHARE * 1.001, 1, False),
        (_least * 1.001, SLOW_SHARE * 0.999, 1, False),
        (_least * 1.001, SLOW_SHARE * 1.001, 2, False),
        (_least * 1.001, SLOW_SHARE * 2.002, 2, True),
    ],
)
def test_the_boundaries_of_a_slow_interval(
    mean: float, share: float, workers: int, search: bool
) -> None:
    seconds = share * 0.1
    series = [
        interval(0),
        interval(
            1,
            dropped=5,
            connect_calls=round(seconds / mean),
            connect_seconds=seconds,
            cpu_system=seconds,
        ),
    ]
    # Whole calls: the mean that came out must still be on its side of the boundary.
    assert (series[1].mean_connect >= _least) == (mean >= _least)
    found = attribute(series, workers)
    assert (found.port_search, found.generator) == ((5, 0) if search else (0, 5))


def test_a_slow_generator_is_not_taken_for_a_slow_kernel_where_connect_is_always_slow() -> None:
    """Only what is several times the undisturbed connect() is slow."""
    usual = {"connect_calls": 100, "connect_seconds": 100 * 0.6e-3}
    series = [*(interval(n, **usual) for n in range(5)), interval(5, dropped=40, **usual)]
    assert attribute(series, workers=1).generator == 40


def test_nothing_happened_and_nobody_is_to_blame() -> None:
    assert attribute([], workers=1) == Attribution(0, 0, 0, 0.0, 0.0, None)
    assert intervals([]) == []


# --- from samples ------------------------------------------------------------------------------


def test_intervals_are_what_changed_between_samples() -> None:
    first, second = intervals(
        [
            generator_sample(0.1, started=10, connect_calls=10, connect_call_seconds=0.01),
            generator_sample(
                0.2,
                started=30,
                dropped=5,
                drop_in_flight=2,
                failed=1,
                connect_calls=30,
                connect_call_seconds=0.05,
                busiest_worker_seconds=0.05,
            ),
        ]
    )
    assert (first.start, first.end, first.started, first.mean_connect) == (0.0, 0.1, 10, 0.001)
    assert (second.started, second.dropped, second.failed) == (20, 5, 1)
    assert second.in_flight_drops == 2
    assert second.mean_connect == pytest.approx(0.002)
    assert second.busiest == pytest.approx(0.5)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.0, 0.1, 0.3]), st.integers(0, 50), st.integers(0, 50)),
        min_size=1,
        max_size=12,
    ),
    st.floats(0.001, 0.5),
)
def test_every_drop_is_attributed_exactly_once(
    changes: list[tuple[float, int, int]], first: float
) -> None:
    """Also those before the first sample, and those in samples with the same time."""
    t, dropped, in_flight, samples = first, 0, 0, []
    for later, overdue, full in changes:
        t += later
        dropped += overdue + full
        in_flight += full
        samples.append(generator_sample(t, dropped=dropped, drop_in_flight=in_flight))
    found = attribute(intervals(samples), workers=1)
    assert found.in_flight == in_flight
    assert found.port_search + found.in_flight + found.generator == dropped


# --- validity ------------------------------------------------------------------------------------


def _blamed(generator: int) -> Attribution:
    return Attribution(0, 0, generator, 25e-6, 0.0, None)


@pytest.mark.parametrize(
    ("dropped", "limited"),
    [(0, False), (round(TOLERATED_DROPS * 100_000), False), (101, True), (50_000, True)],
)
def test_a_run_is_the_generator_s_limit_beyond_the_tolerated_drops(
    dropped: int, limited: bool
) -> None:
    assert bool(saturation([interval(0)], _blamed(dropped), 100_000)) is limited


@pytest.mark.parametrize(
    ("busiest", "why"), [(0.99, "used 99% of a core"), (0.4, "did not get the CPU in time")]
)
def test_the_reason_says_why_the_generator_was_slow(busiest: float, why: str) -> None:
    (reason,) = saturation([interval(0, busiest=busiest)], _blamed(500), 1000)
    assert "500 of 1000 arrivals" in reason
    assert why in reason


def test_the_reason_says_how_busy_the_machine_was() -> None:
    before = {"cpu_user_seconds": 10.0, "cpu_idle_seconds": 100.0, "cpu_steal_seconds": 0.0}
    after = {"cpu_user_seconds": 11.5, "cpu_idle_seconds": 100.2, "cpu_steal_seconds": 0.3}
    samples = [Sample(0.0, "host", before), Sample(1.0, "host", after)]
    (reason,) = saturation([interval(0)], _blamed(500), 1000, samples)
    assert reason.endswith("; the machine was 90% busy, and its hypervisor gave 15% to others")
