"""Predictions beside what came: a figure, an error, or plainly wrong."""

import msgspec
import pytest

from lab.analysis.predictions import error, predictions
from lab.analysis.records import Arm, Experiment, ExperimentConfig, Prediction, Trial
from lab.report.view import _measured
from loadgen.summary import Environment, Summary
from tests.lab.ablate.worlds import summary

FEW = {"net.ipv4.ip_local_port_range": "40000 40099", "net.ipv4.tcp_tw_reuse": "0"}


def experiment(settings: dict[str, str], trials: int) -> Experiment:
    return Experiment(
        name="x",
        testbed="netns",
        started_at="2026-11-20T10:00:00+00:00",
        finished=True,
        config=ExperimentConfig(),
        environment=Environment(),
        arms=[Arm(name="after", tuning="mine", source=".", text="", settings={})],
        trials=[
            Trial(
                arm="after", number=n, used=True, directory=f"trials/{n}", skipped={},
                sysctls={"client": settings, "server": settings}, started_at="x",
            )
            for n in range(trials)
        ],
    )  # fmt: skip


def foretold(settings: dict[str, str], runs: list[Summary]) -> dict[str, Prediction]:
    found = predictions(
        experiment(settings, len(runs)), {f"trials/{n}": run for n, run in enumerate(runs)}
    )
    return {one.name.removeprefix("after: "): one for one in found}


def test_a_loss_that_was_predicted_and_did_not_come_is_wrong_and_not_absent() -> None:
    found = foretold(FEW, [summary(0.0)] * 4)
    until = found["connections until the ports run out"]
    assert (until.predicted, until.measured, until.outcome, until.wrong) == (
        100,
        None,
        "never",
        True,
    )
    assert _measured(until) == "never"
    capacity = next(one for name, one in found.items() if name.startswith("highest rate"))
    assert (capacity.outcome, capacity.wrong) == ("at_least", True)
    assert _measured(capacity).startswith("≥ ")
    assert error(capacity) is None


def test_a_loss_that_was_not_predicted_is_wrong() -> None:
    found = foretold({"net.ipv4.tcp_tw_reuse": "1"}, [summary(0.5)] * 4)
    lost = found["connections lost"]
    assert (lost.predicted, lost.measured, lost.wrong) == (0, 500, True)
    assert error(lost) == -1.0
    capacity = next(one for name, one in found.items() if name.startswith("highest rate"))
    assert (capacity.outcome, capacity.wrong) == ("below", True)
    assert _measured(capacity).startswith("< ")


def test_a_prediction_that_came_true_is_a_figure_with_an_error() -> None:
    run = msgspec.structs.replace(
        summary(0.9), first_failure_at=0.1, started_before_first_failure=100
    )
    found = foretold(FEW, [run] * 4)
    until = found["connections until the ports run out"]
    assert (until.outcome, until.wrong) == ("measured", False)
    assert error(until) == pytest.approx(0.0, abs=0.01)


def test_ports_that_buckets_never_let_be_held_are_never_missing() -> None:
    """1,000 ports, reuse, tcp_max_tw_buckets = 100: measured, 6,000 of 6,000 at 3,000/s."""
    settings = {
        "net.ipv4.ip_local_port_range": "40000 40999",
        "net.ipv4.tcp_tw_reuse": "1",
        "net.ipv4.tcp_max_tw_buckets": "100",
    }
    found = foretold(settings, [summary(0.0)] * 4)
    assert found["connections lost"].predicted == 0
    assert not any(one.wrong for one in found.values())
