"""Adding up workers, and reading totals back from samples."""

from __future__ import annotations

import copy
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import sample
from loadgen.accounting.latency import IntervalHistogram
from loadgen.accounting.messages import Histograms, Tick, Totals
from loadgen.accounting.sums import HistogramMerger, TickMerger, add, group_of, totals_of, values_of
from loadgen.sample import Sample
from tests.loadgen.builders import totals


@given(st.lists(totals(), max_size=4), st.randoms(use_true_random=False))
def test_adding_does_not_depend_on_the_order(parts: list[Totals], random: object) -> None:
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert add(parts) == add(shuffled)


@given(totals(), totals(), totals())
def test_adding_does_not_depend_on_the_grouping(a: Totals, b: Totals, c: Totals) -> None:
    assert add([add([a, b]), c]) == add([a, add([b, c])]) == add([a, b, c])


@given(st.lists(totals(), max_size=4))
def test_adding_keeps_the_equations_and_changes_no_part(parts: list[Totals]) -> None:
    before = copy.deepcopy(parts)
    whole = add(parts)
    assert whole.scheduled == whole.started + whole.dropped
    assert whole.started == whole.ok + whole.failed + whole.unfinished
    assert whole.dropped == sum(whole.drops.values())
    assert whole.failed == sum(whole.outcomes.values())
    assert parts == before


@pytest.mark.parametrize(
    ("parts", "first", "before"),
    [
        ([(None, None, 10), (None, None, 5)], None, None),
        ([(None, None, 10), (2.0, 3, 5)], 2.0, 13),
        ([(0.5, 4, 10), (2.0, 3, 5)], 0.5, 7),
        ([(0.0, 0, 10), (2.0, 3, 5)], 0.0, 3),
        ([(2.0, 3, 5), (0.0, 0, 10)], 0.0, 3),
    ],
)
def test_the_first_failure_is_the_earliest_of_any_worker(
    parts: list[tuple[float | None, int | None, int]], first: float | None, before: int | None
) -> None:
    whole = add(
        Totals(started=started, first_failure_at=at, started_before_first_failure=count)
        for at, count, started in parts
    )
    assert whole.first_failure_at == first
    assert whole.started_before_first_failure == before


@given(totals(), st.floats(0, 1e6))
def test_totals_can_be_read_back_from_a_sample(whole: Totals, busiest: float) -> None:
    written = Sample(1.5, "generator", values_of(whole, busiest))
    (read,) = sample.decode_lines([sample.encode_line(written)])
    assert totals_of(read.values) == whole
    assert group_of(read.values, "outcomes") == whole.outcomes


def test_a_sample_without_totals_is_nothing() -> None:
    assert totals_of({}) == Totals()


# --- the common grid of moments ---------------------------------------------------------------


def _tick(number: int, started: int = 0, t: float | None = None) -> Tick:
    return Tick(number, number / 10 if t is None else t, Totals(started=started))


def _started(samples: object) -> list[tuple[float, float]]:
    assert not isinstance(samples, Sample)
    return [(s.t, s.values["generator_started"]) for s in samples]  # type: ignore[attr-defined]


def test_a_moment_is_complete_when_every_worker_has_reported_it() -> None:
    merger = TickMerger(2)
    assert _started(merger.add(0, _tick(1, 10))) == []
    assert _started(merger.add(1, _tick(1, 20))) == [(0.1, 30)]
    assert _started(merger.add(1, _tick(2, 25))) == []
    assert _started(merger.add(0, _tick(2, 11))) == [(0.2, 36)]


def test_a_worker_that_was_stuck_passes_over_moments() -> None:
    merger = TickMerger(2)
    list(merger.add(0, _tick(1, 1)))
    list(merger.add(1, _tick(1, 1)))
    for number in (2, 3, 4):
        assert _started(merger.add(0, _tick(number, number))) == []
    assert _started(merger.add(1, _tick(4, 1))) == [(0.4, 5)]


def test_a_worker_that_has_ended_is_not_waited_for_but_counted() -> None:
    merger = TickMerger(2)
    list(merger.add(0, _tick(1, 7)))
    assert _started(merger.add(1, _tick(1, 1))) == [(0.1, 8)]
    assert _started(merger.add(1, _tick(2, 2))) == []
    assert _started(merger.end(0)) == [(0.2, 9)]
    assert _started(merger.add(1, _tick(3, 3))) == [(0.3, 10)]
    assert _started(merger.end(1)) == []
    assert merger.current().started == 10


def test_a_worker_that_never_reported_is_not_waited_for_once_it_has_ended() -> None:
    merger = TickMerger(2)
    assert _started(merger.add(0, _tick(5, 3))) == []
    assert _started(merger.end(1)) == [(0.5, 3)]
    assert merger.busiest() == 0


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=40),
)
def test_samples_are_ordered_and_end_with_everything(
    steps: list[tuple[int, int, bool]],
) -> None:
    """Workers that skip moments and end at any time, heard in the order in which they spoke."""
    merger = TickMerger(3)
    ended = [False] * 3
    latest = [0, 0, 0]
    now = 0
    samples: list[Sample] = []
    for worker, skipped, ends in steps:
        if ended[worker]:
            continue
        now += skipped
        latest[worker] += 1 + skipped
        samples += merger.add(worker, _tick(now, latest[worker]))
        if ends:
            ended[worker] = True
            samples += merger.end(worker)
    times = [item.t for item in samples]
    started = [item.values["generator_started"] for item in samples]
    assert times == sorted(times)
    assert started == sorted(started)
    assert merger.current().started == sum(latest)


def test_messages_keep_totals_exactly() -> None:
    tick = Tick(3, 0.3, Totals(ok=1, started=1, scheduled=1, connect_call_seconds=0.1))
    assert msgspec.json.decode(msgspec.json.encode(tick), type=Tick) == tick


# --- the seconds that all workers share -------------------------------------------------------


def _second(number: int, count: int = 1) -> Histograms:
    return Histograms(number, {"total": {5: count}} if count else {})


def _told(found: list[IntervalHistogram]) -> list[tuple[float, float, int]]:
    return [(item.start, item.length, sum(item.counts.values())) for item in found]


def test_a_second_is_complete_when_every_worker_has_sent_it() -> None:
    merger = HistogramMerger(2, 1.0)
    assert _told(merger.add(_second(1, 3))) == []
    assert _told(merger.add(_second(1, 4))) == [(0.0, 1.0, 7)]
    assert merger.latest["total"] == {5: 7}


def test_a_worker_that_was_held_back_passes_over_a_second() -> None:
    merger = HistogramMerger(2, 1.0)
    for number in (1, 2):
        assert _told(merger.add(_second(number))) == []
    assert _told(merger.add(_second(2, 9))) == [(0.0, 1.0, 1), (1.0, 1.0, 10)]


def test_what_is_left_when_all_have_ended_reaches_to_the_end() -> None:
    merger = HistogramMerger(2, 1.0)
    merger.add(_second(-1, 2))
    assert _told(merger.end(1.4)) == []
    merger.add(_second(-1, 3))
    assert _told(merger.end(1.5)) == [(0.0, 1.5, 5)]


def test_a_worker_that_was_lost_is_not_waited_for() -> None:
    merger = HistogramMerger(2, 1.0)
    merger.add(_second(1, 2))
    assert _told(merger.end()) == [(0.0, 1.0, 2)]
    assert _told(merger.add(_second(2, 2))) == [(1.0, 1.0, 2)]


def test_a_tag_without_values_is_no_line() -> None:
    merger = HistogramMerger(1, 1.0)
    assert merger.add(_second(1, 0)) == []
    assert merger.finish() == []


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 5)), max_size=40),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_no_latency_is_lost_or_counted_twice(
    sent: list[tuple[int, int, int]], reports: list[bool]
) -> None:
    """Workers pass over seconds, end with a report or without one, and nothing overlaps."""
    merger = HistogramMerger(3, 1.0)
    at = [0, 0, 0]
    found: list[IntervalHistogram] = []
    due = 0
    for worker, passed, count in sent:
        at[worker] += passed
        due += count
        found += merger.add(_second(at[worker], count))
    for worker, reported in enumerate(reports):
        if reported:
            due += 1
            found += merger.add(_second(-1))
        found += merger.end(at[worker] + 0.5 if reported else 0.0)
    found += merger.finish()
    assert sum(sum(item.counts.values()) for item in found) == due
    assert merger.total.get("total", {}).get(5, 0) == due
    for before, after in pairwise(found):
        assert before.start + before.length <= after.start + after.length
        assert after.start >= before.start
    assert merger.finish() == []
