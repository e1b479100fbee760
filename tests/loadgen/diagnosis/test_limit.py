"""What kept a run from going faster."""

from __future__ import annotations

import pytest

from loadgen.accounting.messages import Totals
from loadgen.diagnosis.honesty import Attribution, Interval
from loadgen.diagnosis.limit import describe
from loadgen.sample import Sample
from tests.loadgen.diagnosis.test_honesty import interval

_NO_DROPS = Attribution(
    port_search=0,
    in_flight=0,
    generator=0,
    baseline_connect=25e-6,
    slow_connect=0.0,
    slow_since=None,
)
_TOTALS = Totals(started=10_000, ok=10_000, cpu_user=0.1, cpu_system=0.9)


def _machine(busy: float) -> list[Sample]:
    return [
        Sample(
            t, "host", {"cpu_idle_seconds": 2 * t * (1 - busy), "cpu_user_seconds": 2 * t * busy}
        )
        for t in (0.0, 1.0)
    ]


def _series(busiest: float) -> list[Interval]:
    return [interval(number, busiest=busiest) for number in range(10)]


@pytest.mark.parametrize(
    ("busiest", "machine", "expected"),
    [
        (0.99, _machine(0.6), "a worker's core: 99% of it was used, 90% of that inside the kernel; "
                              "more --workers go further"),
        (0.99, _machine(0.98), "so more --workers would only take from the others"),
        (0.99, [], "more --workers go further"),
        (0.7, _machine(0.99), "this machine: all its CPUs were busy, and the busiest worker got 70%"),
        (0.7, _machine(0.6), "the servers, the network or --concurrency: the busiest worker used "
                             "70% of a core"),
        (0.7, [], "the servers, the network or --concurrency"),
    ],
)  # fmt: skip
def test_the_closed_loop_runs_into_something(
    busiest: float, machine: list[Sample], expected: str
) -> None:
    found = describe(_series(busiest), _TOTALS, _NO_DROPS, machine, closed_loop=True)
    assert expected in found


@pytest.mark.parametrize(
    ("search", "full", "slow", "expected"),
    [
        (80, 10, 5, "the kernel's search for a local port (80 of 95"),
        (0, 10, 5, "replies that did not come"),
        (0, 0, 5, "the generator or this machine's CPUs (5 of 5"),
    ],
)
def test_a_schedule_runs_into_what_its_drops_were_attributed_to(
    search: int, full: int, slow: int, expected: str
) -> None:
    totals = Totals(started=900, ok=900, dropped=search + full + slow)
    attribution = Attribution(
        port_search=search,
        in_flight=full,
        generator=slow,
        baseline_connect=25e-6,
        slow_connect=2e-3,
        slow_since=0.1,
    )
    assert expected in describe(_series(0.5), totals, attribution, [], closed_loop=False)


def test_a_schedule_that_was_kept_has_no_limit() -> None:
    found = describe(_series(0.5), _TOTALS, _NO_DROPS, _machine(0.9), closed_loop=False)
    assert found == "none: every arrival was started"


def test_nothing_is_said_of_a_run_that_did_not_happen() -> None:
    assert describe([], _TOTALS, _NO_DROPS, [], closed_loop=True) == ""
    assert describe(_series(0.5), Totals(), _NO_DROPS, [], closed_loop=True) == ""
