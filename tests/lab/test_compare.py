"""Metrics over trials, and that equal arms are seldom called different."""

import random
from pathlib import Path

import msgspec
import pytest

from lab.compare import (
    METRICS,
    ArmTrials,
    Metric,
    compare,
    compare_metric,
    differences,
    flatten,
    ranked_causes,
)
from lab.stats import ALPHA, trials_for_test
from loadgen.summary import Summary, ThresholdResult, Verdict
from tests.lab.synthetic import Plan, write_run


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return write_run(tmp_path_factory.mktemp("lost") / "run", Plan(), seed=1)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return write_run(tmp_path_factory.mktemp("clean") / "run", Plan(collapse=False), seed=2)


def with_losses(summary: Summary, dropped: int) -> Summary:
    return msgspec.structs.replace(
        summary,
        dropped=dropped,
        failed=0,
        ok=summary.scheduled - dropped,
        started=summary.scheduled - dropped,
    )


def metric(name: str) -> Metric:
    return next(known for known in METRICS if known.name == name)


def test_every_metric_of_a_run_adds_up(lost: Summary) -> None:
    values = {known.name: known.value(lost) for known in METRICS}
    assert values["lost_share"] == pytest.approx(1 - lost.ok / lost.scheduled)
    assert values["ok_share"] == pytest.approx(lost.ok / lost.scheduled)
    assert values["connect_p99"] == lost.latency["connect"].p99
    assert values["connect_call_seconds"] == pytest.approx(
        lost.generator.connect_call_seconds / lost.started
    )
    assert values["started_before_first_failure"] == lost.started_before_first_failure


def test_never_is_later_than_any_moment(lost: Summary, clean: Summary) -> None:
    """A first failure that never came ranks behind all that did, and has no median."""
    found = compare_metric(metric("first_failure_at"), [lost] * 5, [clean] * 5)
    assert found.after is None
    assert found.change is None
    assert found.effect == 1
    assert found.significant


def test_what_neither_arm_has_is_not_tested(clean: Summary) -> None:
    found = compare_metric(metric("first_failure_at"), [clean] * 5, [clean] * 5)
    assert (found.before, found.p, found.significant) == (None, None, False)


def test_a_run_without_arrivals_has_no_share(clean: Summary) -> None:
    empty = msgspec.structs.replace(clean, scheduled=0, started=0)
    assert metric("lost_share").value(empty) is None
    assert metric("connect_call_seconds").value(empty) is None


def test_few_trials_are_warned_about(lost: Summary, clean: Summary) -> None:
    found = compare(
        "x", ArmTrials("before", "a", (lost,) * 5), ArmTrials("after", "b", (clean,) * 5)
    )
    assert found.verdict == "prevents"
    assert "need >= 6 trials" in found.warnings[0]
    assert "93.8%" in found.warnings[0]
    estimate = found.metrics[0].before
    assert estimate is not None
    assert estimate.confidence == 0.9375
    six = compare("x", ArmTrials("before", "a", (lost,) * 6), ArmTrials("after", "b", (clean,) * 6))
    assert six.warnings == []


def test_books_that_do_not_balance_are_said(lost: Summary, clean: Summary) -> None:
    crooked = msgspec.structs.replace(clean, ok=clean.ok - 1)
    found = compare(
        "x", ArmTrials("before", "a", (lost,) * 6), ArmTrials("after", "b", (crooked,) * 6)
    )
    assert any("do not balance" in line for line in found.warnings)


def test_a_threshold_passes_only_in_every_trial(clean: Summary) -> None:
    runs = [
        msgspec.structs.replace(
            clean,
            verdict=Verdict(
                passed=value == 0,
                thresholds=[ThresholdResult(expression="e", value=value, passed=value == 0)],
            ),
        )
        for value in (0.0, 0.5)
    ]
    arms = [ArmTrials(name, name, tuple(runs)) for name in ("before", "after")]
    [gate] = compare("x", *arms).gates
    assert (gate.arm, gate.passed) == ("after", False)
    assert "1 of 2" in gate.value


def test_causes_are_ranked_over_trials(lost: Summary) -> None:
    [(cause, connections, times)] = ranked_causes([lost, lost])
    assert (connections, times) == (2 * cause.connections, 2)


def test_flatten_writes_what_people_read() -> None:
    nested = {"a": {"b": 5.0, "c": None}, "d": ["x", 2], "e": 0.5}
    assert flatten(nested) == {"a.b": "5", "a.c": "not set", "d": "x, 2", "e": "0.5"}


def test_differences_tell_load_from_circumstances() -> None:
    before = {"rate": 100, "seed": 1, "workers": 1}, {"kernel": "6.1", "cpus": 2}
    after = {"rate": 200, "seed": 2, "workers": 2}, {"kernel": "6.18", "cpus": 2}
    found = [(d.name, d.load, d.text) for d in differences(before, after)]
    assert found == [
        ("rate", True, "rate: 100 before, 200 after"),
        ("workers", False, "workers: 1 before, 2 after"),
        ("kernel", False, "kernel: 6.1 before, 6.18 after"),
    ]


def bursty(dice: random.Random) -> int:
    """Losses as they come: none at all in most trials, else a burst."""
    return 0 if dice.random() < 0.4 else int(dice.lognormvariate(4, 1.5)) % 1000


@pytest.mark.parametrize("trials", [4, 5, 10])
def test_equal_arms_are_called_different_at_most_alpha(clean: Summary, trials: int) -> None:
    """The null test: 2,000 experiments whose arms are the same, losses bursty as in life.

    The count of false alarms may exceed alpha times 2,000 by chance: by three of its standard
    deviations in one series of a thousand.
    """
    dice = random.Random(trials)
    repetitions = 2000
    alarms = 0
    for _ in range(repetitions):
        arms = [
            ArmTrials(name, name, tuple(with_losses(clean, bursty(dice)) for _ in range(trials)))
            for name in ("before", "after")
        ]
        found = compare_metric(METRICS[0], arms[0].summaries, arms[1].summaries)
        alarms += found.significant
    assert trials >= trials_for_test()
    assert alarms <= ALPHA * repetitions + 3 * (repetitions * ALPHA * (1 - ALPHA)) ** 0.5
    assert alarms > 0, "a test that never rejects would pass this as well"


def test_equal_arms_get_the_verdict_no_effect(clean: Summary) -> None:
    """The same on whole verdicts: 200 experiments of 10 + 10 trials."""
    dice = random.Random(7)
    verdicts = []
    for _ in range(200):
        arms = [
            ArmTrials(name, name, tuple(with_losses(clean, bursty(dice)) for _ in range(10)))
            for name in ("before", "after")
        ]
        verdicts.append(compare("null", *arms).verdict)
    assert set(verdicts) <= {"no_effect", "worse", "reduces"}
    assert verdicts.count("no_effect") >= 200 - 10 - 3 * (200 * 0.05 * 0.95) ** 0.5


def test_a_real_difference_is_found(clean: Summary) -> None:
    dice = random.Random(3)
    before = tuple(with_losses(clean, 500 + bursty(dice)) for _ in range(10))
    after = tuple(with_losses(clean, bursty(dice) // 4) for _ in range(10))
    found = compare("x", ArmTrials("before", "a", before), ArmTrials("after", "b", after))
    assert found.verdict == "reduces"


def test_pure_modules_import_no_shell() -> None:
    """The statistics and the verdict know of no file, socket or clock."""
    for name in ("stats", "verdict", "compare", "gates", "text"):
        source = Path("lab", f"{name}.py").read_text()
        for module in ("pathlib", "socket", "time", "trio", "os", "subprocess"):
            assert f"import {module}\n" not in source
            assert f"from {module} import" not in source
