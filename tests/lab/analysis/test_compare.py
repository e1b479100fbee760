"""Metrics over trials, and that equal arms are seldom called different."""

import random
from typing import Any

import msgspec
import pytest

from lab.analysis.compare import (
    METRICS,
    ArmTrials,
    ComparedMetric,
    compare,
    compare_metric,
)
from lab.analysis.differences import Circumstances, differences
from lab.analysis.records import ExperimentConfig
from lab.analysis.stats import ALPHA, trials_for_test
from loadgen.report.rows import ranked_causes
from loadgen.summary import Environment, Summary, ThresholdResult, Verdict
from tests.lab.synthetic import Plan, write_run
from tests.loadgen.builders import run_config


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


def metric(name: str) -> ComparedMetric:
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


def test_differences_tell_load_from_circumstances() -> None:
    before = Circumstances(
        config=run_config(rate=100.0, seed=1, workers=1),
        environment=Environment(kernel="6.1", cpus=2),
    )
    after = Circumstances(
        config=run_config(rate=200.0, seed=2, workers=2),
        environment=Environment(kernel="6.18", cpus=2),
    )
    found = [(d.name, d.load, d.text) for d in differences(before, after)]
    assert found == [
        ("rate", True, "rate: 100/s before, 200/s after"),
        ("workers", False, "workers: 1 before, 2 after"),
        ("kernel", False, "kernel: 6.1 before, 6.18 after"),
    ]


def test_differences_of_two_experiments_are_told_in_full() -> None:
    """Settings that no tuning sets, the lab's options, the place, and that arms took no turns."""

    def told(**changes: Any) -> Circumstances:
        fields: dict[str, Any] = {
            "config": run_config(targets=["198.18.0.2:11211"]),
            "lab": ExperimentConfig(servers=1, memcached_threads=4, faults=[]),
            "sysctls": {"client net.ipv4.tcp_fin_timeout": "60"},
            "environment": Environment(),
            "experiment": "a",
            "testbed": "netns",
        }
        return Circumstances(**{**fields, **changes})

    assert differences(told(), told()) == []
    other = told(
        config=run_config(targets=["198.18.0.2:11211", "198.18.0.3:11211"]),
        lab=ExperimentConfig(servers=2, memcached_threads=8, faults=["kill server-1 at 2s"]),
        sysctls={"client net.ipv4.tcp_fin_timeout": "30"},
        experiment="b",
        testbed="docker",
    )
    found = {d.name: d.load for d in differences(told(), other)}
    assert found == {
        "targets": False, "number of targets": True, "servers": True, "faults": True,
        "memcached threads": False, "client net.ipv4.tcp_fin_timeout": False, "testbed": False,
        "time (the arms did not take turns)": False,
    }  # fmt: skip
    single = told(lab=None, experiment="b")
    assert [d.name for d in differences(told(), single)] == ["time (the arms did not take turns)"]


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
