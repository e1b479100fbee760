"""Every fault, provoked for real: the right cause is named, explains the losses, and stands alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from loadgen.metrics import find
from loadgen.summary import Summary
from tests.faults.catalogue import CASES
from tests.faults.fault import MOMENT
from tests.faults.matrix import PAGE, Result, judge

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(400)]


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_the_right_cause_is_named_and_no_other(name: str, results: Mapping[str, Result]) -> None:
    """First place, at least 99.9 % of what was lost, and nothing else besides."""
    assert judge(results[name]) == []


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_the_causes_add_up_and_come_with_evidence(name: str, results: Mapping[str, Result]) -> None:
    result = results[name]
    summary = _summary(result)
    assert summary.unaccounted() == 0
    assert sum(cause.connections for cause in summary.causes) == result.lost
    for cause in summary.causes:
        assert cause.remedy
        assert cause.first_at is not None
        assert all(item.text for item in cause.evidence)


@pytest.mark.parametrize("name", [case.name for case in CASES if case.fault.fails])
def test_the_state_at_the_first_failure_is_kept(name: str, results: Mapping[str, Result]) -> None:
    """One snapshot for each outcome that failed, from about the moment when it first did."""
    summary = _summary(results[name])
    failed = {outcome for outcome in summary.outcomes if outcome != "ok"}
    dropped = {f"dropped_{reason}" for reason in summary.drops}
    assert {kept.outcome for kept in summary.snapshots} == failed | dropped
    assert len(summary.snapshots) == len(failed | dropped)


@pytest.mark.parametrize("name", [case.name for case in CASES if case.name.startswith("healthy")])
def test_a_healthy_run_s_success_is_explained(name: str, results: Mapping[str, Result]) -> None:
    summary = _summary(results[name])
    assert summary.validity == "valid"
    expected = "time_wait_reused" if "reused" in name else "limit_not_approached"
    assert [item.name for item in summary.explanations] == [expected]


@pytest.mark.parametrize(
    ("name", "validity"),
    [("generator too slow", "generator_limited"), ("port search slow", "valid")],
)
def test_only_the_generator_s_own_drops_spoil_a_run(
    name: str, validity: str, results: Mapping[str, Result]
) -> None:
    assert _summary(results[name]).validity == validity


@pytest.mark.parametrize(
    "name", [case.name for case in CASES if case.name.startswith("port search slow, closed")]
)
def test_the_closed_loop_s_limit_is_the_search_and_not_a_core(
    name: str, results: Mapping[str, Result]
) -> None:
    limit = _summary(results[name]).generator.limit
    assert limit.startswith("the kernel's search for a free local port: ")
    assert "more --workers search the same ports" in limit


@pytest.mark.parametrize(
    "name", ["port search slow, nobody lost", "port search slow, nobody lost, before"]
)
def test_a_limit_that_lost_nobody_is_named_with_its_cost(
    name: str, results: Mapping[str, Result]
) -> None:
    cause = _summary(results[name]).causes[0]
    assert cause.connections == 0
    assert "has lost nobody yet" in cause.title
    cost = next(item for item in cause.evidence if item.metric == "generator_cpu_system_seconds")
    assert isinstance(cost.value, float)
    assert 100e-6 < cost.value < 20e-3
    before = any("held before the first arrival" in item.text for item in cause.evidence)
    assert before is name.endswith(", before")


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_no_evidence_contradicts_the_tables(name: str, results: Mapping[str, Result]) -> None:
    """What a cause says of a gauge or a latency is what the summary's tables say."""
    summary = _summary(results[name])
    for item in (item for cause in summary.causes for item in cause.evidence):
        if item.metric == "latency_first_byte":
            assert item.value == summary.latency["first_byte"].p50
        measured = summary.kernel.get(item.role, {}).get(item.metric)
        known = find(item.metric)
        if isinstance(item.value, str) or measured is None or known is None:
            continue  # a word, such as a listener that is none, has no place in the tables
        if known.kind == "gauge":
            assert measured.min <= item.value <= measured.max, item.text


@pytest.mark.parametrize("name", ["ports exhausted and conntrack full on the server"])
def test_of_two_faults_each_explains_its_own(name: str, results: Mapping[str, Result]) -> None:
    """100 of 200 connections found no port; of the other 100, those beyond the table's room."""
    summary = _summary(results[name])
    counts = {cause.cause: cause.connections for cause in summary.causes}
    assert counts["ephemeral_ports_exhausted"] == summary.errors["EADDRNOTAVAIL"] == 100
    assert counts["conntrack_full_server"] == summary.outcomes["connect_timeout"]
    # The table dropped every SYN of theirs, the first and those sent again each second after it
    # (tcp_syn_linear_timeouts, Linux 6.5): one as a rule, more where the deadline was seen late.
    again = summary.kernel["client"]["netstat_TcpExt_TCPSynRetrans"].delta
    assert again >= counts["conntrack_full_server"]
    dropped = summary.kernel["server"]["nf_conntrack_stat_drop"].delta
    assert dropped == counts["conntrack_full_server"] + again


@pytest.mark.parametrize("name", ["firewall and accept queue, both on the server"])
def test_two_faults_of_one_outcome_are_told_apart_by_their_counters(
    name: str, results: Mapping[str, Result]
) -> None:
    """Every attempt sends one SYN: from the fault's moment on a third met the rule, the queue the rest."""
    summary = _summary(results[name])
    counts = {cause.cause: cause.connections for cause in summary.causes}
    assert counts["firewall_server"] == pytest.approx(summary.started * (1 - MOMENT) / 3, rel=0.1)
    overflows = summary.kernel["server"]["netstat_TcpExt_ListenOverflows"].delta
    assert counts["accept_queue_overflow"] == pytest.approx(overflows, abs=3)


def _summary(result: Result) -> Summary:
    assert result.summary is not None, result.error
    return result.summary


def test_the_page_shows_every_fault_right() -> None:
    """docs/diagnosis.md comes from `python -m tests.faults.matrix --write`; a fault that is new or wrong is not hidden."""
    text = PAGE.read_text()
    for case in CASES:
        rows = [line for line in text.splitlines() if line.startswith(f"| {case.name} | ")]
        assert [row.endswith("| right |") for row in rows] == [True], case.name
