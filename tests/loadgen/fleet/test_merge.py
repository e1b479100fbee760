"""Shards added up: exactly, with whose cause it was, and never more than there is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.accounting.latency import IntervalHistogram
from loadgen.accounting.messages import Totals
from loadgen.config import TlsOptions
from loadgen.fleet import part as digests
from loadgen.fleet.member import Member
from loadgen.fleet.merge import KERNELS, Merged, MergeError, Merger
from loadgen.fleet.missing import due_in
from loadgen.fleet.part import Part
from loadgen.run.conclude import Ended
from loadgen.sample import ROLE_CLIENT, Sample
from loadgen.summary import Summary, TlsUse
from tests.loadgen.builders import run_config
from tests.loadgen.builders import totals as any_totals
from tests.loadgen.fleet.parts import member, part, served, stored


def merged(*members: Member, count: int | None = None, gates: list[str] | None = None) -> Merged:
    merger = Merger(count or len(members), gates)
    for one in members:
        merger.add(one)
    return merger.result()


def codes(summary: Summary) -> list[str]:
    return [warning.code for warning in summary.warnings if warning.code != "loopback"]


_counts = st.dictionaries(st.integers(0, 900), st.integers(1, 10_000), max_size=6)


@settings(deadline=None)
@given(
    parts=st.lists(st.tuples(any_totals(), _counts, _counts), min_size=1, max_size=4),
    elapsed=st.integers(1, 64),
)
def test_sums_are_exact(parts: list[tuple[Totals, Any, Any]], elapsed: int) -> None:
    """Counters and histograms add up, and both equations hold for the whole."""
    shards = [
        member(
            part([(elapsed / 64, totals)], shard=(index, len(parts))),
            index,
            intervals=[
                IntervalHistogram("connect", 0.0, 1.0, first),
                IntervalHistogram("connect", 1.0, 0.5, second),
            ],
        )
        for index, (totals, first, second) in enumerate(parts)
    ]
    found = merged(*shards)
    summary = found.summary
    for name in ("scheduled", "started", "ok", "failed", "unfinished", "dropped"):
        assert getattr(summary, name) == sum(getattr(totals, name) for totals, _, _ in parts)
    assert summary.unaccounted() == 0
    for group in ("drops", "errors", "replies"):
        keys = {key for totals, _, _ in parts for key in getattr(totals, group)}
        assert getattr(summary, group) == {
            key: sum(getattr(totals, group).get(key, 0) for totals, _, _ in parts) for key in keys
        }
    count = sum(sum(first.values()) + sum(second.values()) for _, first, second in parts)
    assert (summary.latency["connect"].count if count else 0) == count
    assert sum(sum(one.counts.values()) for one in found.intervals) == count


@settings(deadline=None)
@given(whole=any_totals(), counts=_counts, cut=st.floats(0, 1), reserve=st.integers(0, 3))
def test_two_shards_of_a_load_equal_the_run_of_one_figure_by_figure(
    whole: Totals, counts: dict[int, int], cut: float, reserve: int
) -> None:
    """The same counts and latencies, recorded by one generator or by two."""

    def part_of(number: int) -> int:
        return int(number * cut)

    def half(of: dict[str, int], first: bool) -> dict[str, int]:
        return {
            key: share
            for key, number in of.items()
            if (share := part_of(number) if first else number - part_of(number))
        }

    def piece(first: bool) -> Totals:
        groups = {
            g: half(getattr(whole, g), first) for g in ("drops", "outcomes", "errors", "replies")
        }
        ok, left = ((part_of(n) if first else n - part_of(n)) for n in (whole.ok, whole.unfinished))
        failed, dropped = sum(groups["outcomes"].values()), sum(groups["drops"].values())
        return Totals(
            scheduled=ok + left + failed + dropped,
            started=ok + left + failed,
            ok=ok,
            failed=failed,
            unfinished=left,
            dropped=dropped,
            connect_calls=0,
            **groups,  # type: ignore[arg-type]
        )

    alone = msgspec.structs.replace(
        whole,
        connect_calls=0,
        connect_call_seconds=0.0,
        cpu_user=0.0,
        cpu_system=0.0,
        first_failure_at=None,
        started_before_first_failure=None,
    )
    one = merged(
        member(part([(1.0, alone)]), intervals=[IntervalHistogram("total", 0.0, 1.0, counts)])
    ).summary
    first = {bucket: number - number // 2 for bucket, number in counts.items()}
    second = {bucket: number // 2 for bucket, number in counts.items()}
    two = merged(
        member(
            part([(1.0, piece(first=True))], shard=(0, 2)),
            intervals=[IntervalHistogram("total", 0.0, 1.0, first)],
        ),
        member(
            part([(1.0, piece(first=False))], shard=(1, 2)),
            1,
            intervals=[IntervalHistogram("total", 0.0, 1.0, second)],
        ),
    ).summary
    for name in (
        *("scheduled", "started", "ok", "failed", "unfinished", "dropped", "drops", "outcomes"),
        *("errors", "replies", "rate", "latency", "lateness", "elapsed", "verdict"),
    ):
        assert getattr(two, name) == getattr(one, name), name


def clean(index: int, count: int, number: int = 500, **options: Any) -> Member:
    return member(part([(1.0, served(number))], shard=(index, count), **options), index)


def test_a_dead_shard_s_share_was_not_started() -> None:
    """It had come to 120 of its 500 arrivals; the rest is counted, and nothing is scaled."""
    died = Totals(scheduled=120, started=120, ok=100, unfinished=20)
    summary = merged(
        clean(0, 2), member(part([(0.25, died)], shard=(1, 2), ended=None), 1, said="killed")
    ).summary
    assert (summary.scheduled, summary.ok, summary.unfinished) == (1000, 600, 20)
    assert (summary.dropped, summary.drops) == (380, {"not_started": 380})
    assert summary.unaccounted() == 0
    assert summary.validity == "partial"
    assert codes(summary) == ["shard_partial"]
    assert summary.warnings[0].text == (
        "shard 2 on node-2: killed; 380 arrivals of its share were not started"
    )
    assert [(one.state, one.not_started) for one in summary.shards] == [
        ("whole", 0),
        ("partial", 380),
    ]
    assert summary.rate.offered == 1000


def test_a_shard_that_never_came_has_its_share_all_the_same() -> None:
    summary = merged(clean(0, 3), member(None, 1, said="no image"), clean(2, 3), count=3).summary
    assert (summary.scheduled, summary.ok, summary.drops) == (1333, 1000, {"not_started": 333})
    assert [one.state for one in summary.shards] == ["whole", "missing", "whole"]
    assert "shard 2 on node-2: no image; 333 arrivals" in summary.warnings[0].text


def test_a_shard_nobody_gave_is_missing() -> None:
    summary = merged(clean(0, 2), count=2).summary
    assert summary.validity == "partial"
    assert summary.drops == {"not_started": 500}


def test_what_was_due_before_a_late_shard_was_ready_was_not_started() -> None:
    """Ready after 0.4 s; what was due until 0.3 s before was overdue by 0.1 s, the most allowed."""
    late = Totals(scheduled=500, started=350, ok=350, dropped=150, drops={"overdue": 150})
    summary = merged(clean(0, 2), member(part([(1.0, late)], shard=(1, 2), late=0.4), 1)).summary
    assert summary.drops == {"not_started": 150}
    assert (summary.scheduled, summary.unaccounted()) == (1000, 0)
    assert summary.validity == "partial"
    assert "was ready 0.40 s after the agreed start" in summary.warnings[0].text


def test_a_fleet_that_was_stopped_owes_nothing_after_that() -> None:
    stopped = Ended(elapsed=0.5, interrupted=True)
    shards = [
        member(part([(0.5, served(250))], shard=(index, 2), ended=stopped), index)
        for index in range(2)
    ]
    summary = merged(*shards).summary
    assert (summary.scheduled, summary.drops, summary.validity) == (500, {}, "partial")


@pytest.mark.parametrize("schedule", ["constant", "poisson", "ramp:0-800", "steps:100,900"])
@pytest.mark.parametrize("workers", [[1, 1, 1], [1, 2, 3]])
def test_shares_add_up_to_the_schedule_whatever_workers_shards_have(
    schedule: str, workers: list[int]
) -> None:
    rate = 700.0 if schedule in {"constant", "poisson"} else None
    config = run_config(schedule=schedule, rate=rate, duration=2.0, warmup=0.5)
    shares = [due_in(config, i, 3, number, 0.0, 2.0) for i, number in enumerate(workers)]
    law = config.law()
    whole = sum(due >= 0.5 for due in law.arrivals())
    if schedule == "poisson":  # independent processes: the whole is their sum by definition
        assert abs(sum(shares) - whole) < 300
    else:
        assert sum(shares) == whole


def refused(index: int, count: int, number: int) -> Member:
    totals = served(500)
    totals.ok, totals.failed = 500 - number, number
    totals.outcomes, totals.errors = {"connect_refused": number}, {"ECONNREFUSED": number}
    totals.first_failure_at, totals.started_before_first_failure = 0.25 + index / 10, 100
    return member(part([(1.0, totals)], shard=(index, count)), index)


def test_a_cause_is_said_with_the_nodes_it_was_found_on() -> None:
    summary = merged(refused(0, 3, 10), clean(1, 3), refused(2, 3, 30)).summary
    (cause,) = summary.causes
    assert cause.connections == 40
    assert [(one.shard, one.node, one.connections) for one in cause.shards] == [
        (3, "node-3", 30),
        (1, "node-1", 10),
    ]
    assert cause.title.endswith("(shard 3 on node-3, shard 1 on node-1)")
    assert all(piece.text.startswith("shard ") for piece in cause.evidence)
    assert cause.evidence[0].role == "generator@3"
    assert summary.first_failure_at == 0.25


def test_one_shard_s_generator_being_too_slow_is_the_fleet_s_validity() -> None:
    found = clean(1, 2)
    assert found.part is not None
    slow = msgspec.structs.replace(
        found.part,
        summary=msgspec.structs.replace(found.part.summary, validity="generator_limited"),
    )
    summary = merged(clean(0, 2), msgspec.structs.replace(found, part=slow)).summary
    assert summary.validity == "generator_limited"


def test_what_tls_cost_all_shards_is_the_fleet_s() -> None:
    """Three handshakes of ten were full ones."""
    shards = [
        member(
            part(
                [(1.0, served(10, tls_handshakes=10, tls_resumed=7, tls_cpu=0.25))],
                shard=(index, 2),
                tls=TlsOptions(),
            ),
            index,
        )
        for index in range(2)
    ]
    assert merged(*shards).summary.generator.tls == TlsUse(
        handshakes=20, resumed=14, cpu_seconds=0.5
    )


def test_thresholds_are_the_whole_s_and_a_kernel_s_are_every_shard_s() -> None:
    def with_tw(index: int, most: int) -> Member:
        samples = [
            Sample(t, ROLE_CLIENT, {"sockstat_TCP_tw": n}) for t, n in [(0.0, 0), (1.0, most)]
        ]
        return clean(index, 2, samples=samples)

    gates = ["ok: count >= 1000", "client.sockstat_TCP_tw: max < 100"]
    verdict = merged(with_tw(0, 50), with_tw(1, 150), gates=gates).summary.verdict
    assert [(one.value, one.passed) for one in verdict.thresholds] == [(1000, True), (150, False)]
    assert not verdict.passed


def test_kernels_stay_apart_and_are_bounded() -> None:
    count = KERNELS + 4
    samples = [Sample(0.0, ROLE_CLIENT, {"sockstat_TCP_tw": 1})]
    summary = merged(*(clean(i, count, samples=samples) for i in range(count))).summary
    assert list(summary.kernel) == ["client", *(f"client@{i}" for i in range(2, KERNELS + 1))]


def test_a_thousand_bad_shards_are_said_in_a_few_lines() -> None:
    shards = [member(None, index, said="gone") for index in range(1, 1000)]
    summary = merged(clean(0, 1000, 1), *shards).summary
    assert len(codes(summary)) == 6
    assert "994 more shards are not whole" in summary.warnings[5].text


def test_the_course_of_the_whole_goes_on_when_a_shard_has_ended() -> None:
    """At each second everyone's latest totals: those of a dead shard stay."""
    long = part(
        [(0.5, served(50)), (1.0, served(100)), (2.0, served(200)), (3.0, served(300))],
        duration=3.0, shard=(0, 2), ended=Ended(elapsed=3.0),
    )  # fmt: skip
    short = part([(0.5, served(40)), (1.5, served(90))], duration=3.0, shard=(1, 2), ended=None)
    found = merged(member(long), member(short, 1))
    course = [(item.t, item.values["generator_started"]) for item in found.samples]
    assert course == [(1.0, 140), (2.0, 290), (3.0, 390), (3.0, 390)]
    assert found.summary.started == 390


def test_two_runs_that_are_no_shards_of_one_are_refused() -> None:
    with pytest.raises(MergeError, match="shards/2 is not a shard of the same run as shards/1"):
        merged(clean(0, 2), clean(1, 2, rate=7.0))
    with pytest.raises(MergeError, match="shard 1 is given twice"):
        merged(clean(0, 2), clean(0, 2))
    with pytest.raises(MergeError, match="nothing of any shard came home"):
        merged(member(None), member(None, 1))


def test_a_digest_reads_back_as_it_was_written() -> None:
    found = part([(1.0, served(7))])
    written = msgspec.json.encode(found)
    assert msgspec.json.encode(digests.decoder.decode(written)) == written


def test_whole_seconds_take_the_last_sample_up_to_then() -> None:
    run = stored([(0.4, served(4)), (2.5, served(25)), (3.0, served(30)), (3.2, served(32))])
    found: Part = digests.of(run, {})
    assert [totals.started for totals in found.course] == [4, 4, 30]
    assert found.totals.started == 32
