"""Thresholds: the grammar, where an error points, and what ends a run early."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.accounting.messages import Totals
from loadgen.outcome import Outcome
from loadgen.run.conclude import Ended, conclude
from loadgen.sample import Sample
from loadgen.summary import Summary
from loadgen.thresholds import ThresholdError, parse_threshold, verdict
from tests.loadgen.builders import about, generator_sample, run_config, totals

_OPERATORS = ["<", "<=", "==", "!=", ">=", ">"]


def summary_of(values: dict[str, int], **changes: Any) -> Summary:
    """Return the summary of a run of 2 s that came to these totals."""
    samples = [
        Sample(0.0, "client", {"sockstat_TCP_tw": 5}),
        Sample(2.0, "client", {"sockstat_TCP_tw": 105}),
        generator_sample(2.0, **values),
    ]
    histograms = {"total": {200: 98, 250: 2}, "lateness": {10: 100}}
    ended = Ended(elapsed=2.0)
    return conclude(about(run_config(duration=2.0, **changes), ended), samples, histograms)


SUMMARY = summary_of(
    {
        "scheduled": 110,
        "started": 100,
        "ok": 96,
        "failed": 4,
        "dropped": 10,
        "drop_overdue": 10,
        "outcome_reset": 4,
    }
)


@pytest.mark.parametrize(
    ("expression", "value", "passed"),
    [
        ("failed: rate == 0", 0.04, False),
        ("failed: rate < 5%", 0.04, True),
        ("failed: rate <= 0.04", 0.04, True),
        ("failed: count == 4", 4, True),
        ("failed: count != 4", 4, False),
        ("failed: per_second < 3", 2, True),
        ("  failed :count<5 ", 4, True),
        ("dropped: rate < 10%", 10 / 110, True),
        ("lost: count == 14", 14, True),
        ("lost: rate < 13%", 14 / 110, True),
        ("ok: count >= 96", 96, True),
        ("ok: rate > 96%", 0.96, False),
        ("scheduled: count == 110", 110, True),
        ("unfinished: count == 0", 0, True),
        ("reset: count < 4", 4, False),
        ("connect_timeout: count == 0", 0, True),
        ("achieved: value >= 48", 48, True),
        ("offered: value > 55", 55, False),
        ("latency_total: p(50) <= 200us", 200e-6, True),
        ("latency_total: p(99) < 0.2ms", 250e-6, False),
        ("latency_total: p(99.9) < 1", 250e-6, True),
        ("latency_total: max < 1s", 250e-6, True),
        ("latency_total: med < 1s", 200e-6, True),
        ("latency_total: avg < 1s", 201e-6, True),
        ("lateness: p(90) < 11us", 10e-6, True),
        ("client.sockstat_TCP_tw: max <= 105", 105, True),
        ("client.sockstat_TCP_tw: delta < 100", 100, False),
        ("client.sockstat_TCP_tw: first == 5", 5, True),
    ],
)
def test_a_threshold_is_judged(expression: str, value: float, passed: bool) -> None:
    result = parse_threshold(expression).check(SUMMARY)
    assert result.expression == expression
    assert result.value == pytest.approx(value)
    assert result.passed is passed


@pytest.mark.parametrize(
    "expression", ["latency_connect: p(99) < 1s", "server.sockstat_TCP_tw: max < 9"]
)
def test_what_was_not_measured_does_not_pass(expression: str) -> None:
    result = parse_threshold(expression).check(SUMMARY)
    assert (result.value, result.passed) == (None, False)


def test_a_share_of_nothing_is_not_measured() -> None:
    nothing = summary_of({"scheduled": 0, "started": 0, "ok": 0, "failed": 0, "dropped": 0})
    assert parse_threshold("failed: rate == 0").check(nothing).value is None


def test_a_verdict_passes_when_all_thresholds_do() -> None:
    passes, fails = parse_threshold("failed: count == 4"), parse_threshold("failed: count == 0")
    assert verdict([], SUMMARY).passed
    assert verdict([passes, passes], SUMMARY).passed
    found = verdict([passes, fails], SUMMARY)
    assert not found.passed
    assert [result.passed for result in found.thresholds] == [True, False]


@pytest.mark.parametrize(
    ("expression", "points_at", "message"),
    [
        ("failed", "", "a threshold is METRIC: AGGREGATION OPERATOR VALUE"),
        ("faild: rate == 0", "faild", "unknown metric 'faild'; did you mean 'failed'?"),
        (" zzz: rate == 0", "zzz", "unknown metric 'zzz'; counts are"),
        (": rate == 0", ": rate", "unknown metric ''"),
        ("client.nonsense: max < 1", "client.", "unknown metric 'client.nonsense'"),
        ("generator.generator_ok: max < 1", "generator.", "unknown metric"),
        ("failed: p(99) == 0", "p(99)", "failed has no 'p(99)'; it has count, rate, per_second"),
        ("latency_total: p(98) < 1s", "p(98)", "it has avg, med, max, p(50)"),
        ("achieved: rate > 1", "rate", "achieved has no 'rate'; it has value"),
        ("failed: rate = 0", "= 0", "unknown operator"),
        ("failed: rate ! 0", "! 0", "unknown operator"),
        ("failed: rate == zero", "zero", "'zero' is not a number"),
        ("failed: rate == nan", "nan", "'nan' is not a number"),
        ("failed: rate < inf%", "inf%", "'inf%' is not a number"),
        ("latency_total: p(99) < soon", "soon", "'soon' is not a duration"),
        ("failed: rate", "", "expected e.g. `count == 0`"),
        ("failed:", "", "expected e.g. `count == 0`"),
        ("failed: rate ==", "", "expected e.g. `count == 0`"),
        ("failed: rate == 0 please", "please", "expected e.g. `count == 0`"),
        ("failed: rate <> 0", "<> 0", "unknown operator"),
        ("failed: rate === 0", "=== 0", "unknown operator"),
    ],
)
def test_an_error_points_at_the_character(expression: str, points_at: str, message: str) -> None:
    with pytest.raises(ThresholdError) as caught:
        parse_threshold(expression)
    text, _, pointer = str(caught.value).rpartition("; at ")
    assert message in text
    place, _, shown = pointer.partition(" of ")
    assert shown == repr(expression)
    if points_at:
        position = int(place.removeprefix("character ")) - 1
        assert expression[position:].startswith(points_at)
    else:
        assert place == "the end"


@given(st.text(alphabet="failedrt: p()9.<>=!0%ms client_", max_size=30))
def test_any_text_is_a_threshold_or_a_threshold_error(text: str) -> None:
    try:
        assert parse_threshold(text).expression == text
    except ThresholdError as error:
        assert str(error).endswith(f" of {text!r}")


# --- ending a run early --------------------------------------------------------------------------

_gates = st.builds(
    "{}: {} {} {}".format,
    st.sampled_from(
        ["failed", "dropped", "lost", "ok", "started", "unfinished", "reset", "achieved"]
    ),
    st.sampled_from(["count", "rate", "per_second", "value"]),
    st.sampled_from(_OPERATORS),
    st.sampled_from(["0", "1", "2", "50", "0.5", "1%", "-1"]),
).filter(lambda text: ("value" in text) == ("achieved" in text))


def _as_values(whole: Totals) -> dict[str, int]:
    values = {
        "scheduled": whole.scheduled,
        "started": whole.started,
        "ok": whole.ok,
        "failed": whole.failed,
        "in_flight": whole.unfinished,
        "dropped": whole.dropped,
    }
    values.update({f"outcome_{name}": count for name, count in whole.outcomes.items()})
    return values


@given(_gates, totals(), totals())
def test_a_run_is_only_ended_early_for_a_threshold_that_cannot_pass_any_more(
    expression: str, so_far: Totals, rest: Totals
) -> None:
    """Whatever else happens until the end: once failed, always failed."""
    gate = parse_threshold(expression)
    if gate.already_failed(so_far):
        for later in (Totals(), rest):
            end = Totals(
                scheduled=so_far.scheduled + later.scheduled,
                started=so_far.started + later.started,
                ok=so_far.ok + later.ok,
                failed=so_far.failed + later.failed,
                unfinished=so_far.unfinished + later.unfinished,
                dropped=so_far.dropped + later.dropped,
                outcomes={
                    name: so_far.outcomes.get(name, 0) + later.outcomes.get(name, 0)
                    for name in {*so_far.outcomes, *later.outcomes}
                },
            )
            assert not gate.check(summary_of(_as_values(end))).passed


@pytest.mark.parametrize(
    ("expression", "so_far", "failed"),
    [
        ("failed: rate == 0", Totals(started=9, failed=1), True),
        ("failed: rate == 0", Totals(started=9), False),
        ("failed: rate < 1%", Totals(started=1, failed=1), False),
        ("failed: count <= 2", Totals(started=3, failed=2), False),
        ("failed: count <= 2", Totals(started=3, failed=3), True),
        ("failed: count < 2", Totals(started=3, failed=2), True),
        ("failed: count > 2", Totals(started=3, failed=9), False),
        ("dropped: count == 0", Totals(scheduled=1, dropped=1), True),
        ("lost: rate == 0", Totals(scheduled=1, dropped=1), True),
        ("lost: count <= 2", Totals(scheduled=9, failed=1, dropped=1), False),
        ("reset: count == 0", Totals(outcomes={Outcome.RESET: 1}), True),
        ("connect_timeout: count == 0", Totals(outcomes={Outcome.RESET: 1}), False),
        ("ok: count < 1", Totals(ok=5), False),
    ],
)
def test_counts_of_what_goes_wrong_settle_a_threshold(
    expression: str, so_far: Totals, failed: bool
) -> None:
    assert parse_threshold(expression).already_failed(so_far) is failed
