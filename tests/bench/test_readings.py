"""What the measurements read: /proc, other programs' output, and runs of our own."""

from __future__ import annotations

import os
import re
import time

import pytest

from bench import clients, floor, highest_rate, open_loop, quiet, resident, soak
from bench.figures import Late, Run
from bench.resident import Reading
from loadgen.accounting.latency import bucket
from loadgen.accounting.messages import Totals
from loadgen.accounting.sums import values_of
from loadgen.run.conclude import conclude
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR, Sample
from loadgen.summary import Summary
from tests.loadgen.builders import about, run_config

_HZ = os.sysconf("SC_CLK_TCK")

# --- /proc ---------------------------------------------------------------------------------------


def test_busy_is_all_but_idle_and_waiting() -> None:
    """Guest time, the last two fields, is in user and nice already (proc(5))."""
    stat = f"cpu  {_HZ} {_HZ} {_HZ} 999 999 {_HZ} {_HZ} {_HZ} 77 77\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
    assert quiet.busy_seconds(stat) == 6


@pytest.mark.parametrize("text", ["", "intr 1 2 3\n", "cpu 1 2\n"])
def test_what_is_not_proc_stat_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="all CPUs"):
        quiet.busy_seconds(text)


def test_a_process_s_cpu_is_its_own_clock_s() -> None:
    before = time.process_time()
    read = quiet.process_seconds(os.getpid())
    assert before - 0.1 <= read <= time.process_time() + 0.1


def test_our_own_cpu_is_not_the_others() -> None:
    others = quiet.Others([os.getpid()])
    assert isinstance(others.seconds(), float)


# --- other programs ------------------------------------------------------------------------------

_AB = "Server Software:        nginx\nComplete requests:      40000\nFailed requests:        {}\n"
_WRK = "Running 3s test @ http://x/\n  1 threads and 64 connections\n  41234 requests in 3.01s, 6MB read\n"


def test_what_ab_and_wrk_and_the_loop_served() -> None:
    assert clients.ab_served(_AB.format(0)) == 40_000
    assert clients.wrk_served(_WRK) == 41_234
    assert clients.loop_served("123 3.001\n") == 123
    assert (
        clients.redis_served("\rGET: 15384.62 requests per second, p50=1.2 msec\n", 20_000)
        == 20_000
    )


@pytest.mark.parametrize("printed", ["", _AB.format(3), "apr_socket_recv: Connection reset\n"])
def test_an_ab_that_failed_is_no_figure(printed: str) -> None:
    with pytest.raises(ValueError, match="ab did not serve all"):
        clients.ab_served(printed)


@pytest.mark.parametrize(
    "printed", ["", _WRK + "  Socket errors: connect 0, read 3", _WRK + "  Non-2xx or 3xx: 9"]
)
def test_a_wrk_that_failed_is_no_figure(printed: str) -> None:
    with pytest.raises(ValueError, match="wrk did not serve all"):
        clients.wrk_served(printed)


def test_the_floor_s_line() -> None:
    assert floor.parse("1000 2.500000 0.010000 0.090000\n") == Run(1000, 2.5, 0.01, 0.09)
    paced = floor.parse("1000 2.500000 0.010000 0.090000 12 250 4000\n")
    assert paced == Run(1000, 2.5, 0.01, 0.09, Late(12, 250, 4000))


@pytest.mark.parametrize("printed", ["", "connect: Connection refused\n", "1 2 3 4 5"])
def test_what_is_not_the_floor_s_line_is_refused(printed: str) -> None:
    with pytest.raises(ValueError, match="connections seconds user system"):
        floor.parse(printed)


# --- runs of our own -----------------------------------------------------------------------------


def _summary(*, ok: int = 1000, dropped: int = 0, late: int = 100) -> Summary:
    """Return the summary of a second at 1,000/s, every arrival `late` microseconds late."""
    totals = Totals(
        scheduled=ok + dropped,
        started=ok,
        ok=ok,
        dropped=dropped,
        drops={"overdue": dropped} if dropped else {},
        first_failure_at=0.5 if dropped else None,
        cpu_user=0.005,
        cpu_system=0.030,
    )
    sample = Sample(1.0, ROLE_GENERATOR, values_of(totals, 0.035))
    config = run_config(duration=1.0)
    return conclude(
        about(config), [sample], {"lateness": {bucket(late): ok}, "total": {bucket(300): ok}}
    )


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"late": 400}, ["p99 lateness"]),
        ({"ok": 999, "dropped": 1}, ["1 dropped", "achieved 0.999"]),
    ],
)
def test_the_open_loop_s_goals(changes: dict[str, int], missed: list[str]) -> None:
    found = open_loop.shortcomings(_summary(**changes))
    assert len(found) == len(missed)
    assert all(text.startswith(start) for text, start in zip(found, missed, strict=True))


def test_the_open_loop_in_words() -> None:
    text = open_loop.described(_summary())
    assert "dropped 0, failed 0, achieved 1.00000 of 1,000/s" in text
    assert "user 5.0 µs, system 30.0 µs" in text
    assert "lateness  0.100" in text


@pytest.mark.parametrize(
    ("connections", "late", "clean"),
    [
        (10_000, Late(50, 900, 90_000), True),
        (9_991, Late(50, 900, 90_000), True),
        (9_900, Late(50, 900, 90_000), False),
        (10_000, Late(50, 1_100, 1_200), False),
        (10_000, None, False),
    ],
)
def test_what_a_clean_rate_is(connections: int, late: Late | None, clean: bool) -> None:
    run = Run(connections, 1.0, 0.05, 0.35, late)
    assert highest_rate.clean(run, 10_000) is clean


def _at(t: float, ok: int, cpu: float) -> Sample:
    totals = Totals(started=ok, ok=ok, cpu_user=cpu / 4, cpu_system=3 * cpu / 4)
    return Sample(t, ROLE_GENERATOR, values_of(totals, cpu))


def test_a_soak_is_cut_into_windows() -> None:
    """Samples of other roles, and from before the run, are none of its business."""
    samples = [
        _at(-0.1, 0, 0.0),
        Sample(0.05, ROLE_CLIENT, {"sockstat_TCP_tw": 1}),
        *(_at(second / 2, 500 * second, 0.02 * second) for second in range(9)),
    ]
    found = soak.windows(samples, 2.0)
    assert [start for start, _ in found] == [0.0, 2.0]
    for _, run in found:
        assert (run.connections, run.seconds, run.rate) == (2000, 2.0, 1000.0)
        assert run.cpu_each == pytest.approx(40.0)
    assert soak.windows([], 2.0) == []


def test_memory_is_told_from_when_it_has_settled_to_the_end_of_the_load() -> None:
    """A reading a second: it grows until it has settled, then by a tenth; the tree's peak is later."""
    loaded = [
        Reading(float(t), min(t, 60) / 2.0, 40.0 + (t >= 100) * 4.0, 70.0 + (t >= 100) * 7.0)
        for t in range(121)
    ]
    after = [Reading(121.0, 0.0, 300.0, 310.0), Reading(122.0, 0.0, 50.0, 55.0)]
    found = soak.course(loaded, lambda reading: reading.tree, 60.0)
    assert found == soak.Course(70.0, 77.0, 77.0)
    assert found.ratio == pytest.approx(1.1)
    text = soak.memory([*loaded, *after], 60.0)
    assert re.search(r"workers, resident +30.0 +30.0 +1.000 +30.0", text)
    assert re.search(r"coordinator, resident +40.0 +44.0 +1.100 +44.0", text)
    assert text.endswith("up to 310.0 MB")


@pytest.mark.parametrize("length", [0, 1, 30, 79])
def test_a_run_that_is_too_short_has_no_course(length: int) -> None:
    readings = [Reading(float(t), 30.0, 40.0, 70.0) for t in range(length)]
    assert "too short" in soak.memory(readings, 60.0)


def test_memory_that_is_shared_counts_once() -> None:
    """What a process holds in proportion is no more than all that it has resident."""
    both = resident.proportional([os.getpid(), os.getpid()])
    one = resident.proportional([os.getpid()])
    assert both == pytest.approx(2 * one, rel=0.1)
    assert 1.0 < one <= resident.megabytes([os.getpid()]) * 1.1
    assert resident.proportional([2**22 + 1]) == 0.0
