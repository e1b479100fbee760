"""Writes experiments that never happened, to try the reports on; see `tests.loadgen.synthetic`."""

from __future__ import annotations

from pathlib import Path

from lab.analysis.records import Arm, Experiment, ExperimentConfig, FaultDone, Trial
from lab.analysis.store import EXPERIMENT
from loadgen.summary import encode
from tests.loadgen.synthetic import BASELINE, HOSTILE, Plan, environment, write_run

__all__ = ["HOSTILE", "Plan", "write_experiment", "write_run"]

ARTICLE = {
    "net.ipv4.tcp_tw_reuse": "1",
    "net.ipv4.ip_local_port_range": "5000 65000",
}


def write_experiment(
    path: Path,
    *,
    trials: int = 5,
    before: Plan | None = None,
    after: Plan | None = None,
    config: ExperimentConfig | None = None,
    finished: bool = True,
) -> Path:
    """Write an experiment's directory and return its path."""
    plans = {"before": before or Plan(), "after": after or Plan(collapse=False, threshold=True)}
    arms = [
        Arm(name="before", tuning="kernel-default", source="built-in", text="", settings={}),
        Arm(
            name="after",
            tuning="article",
            source="./90-memcached.conf",
            text="".join(f"{key} = {value}\n" for key, value in ARTICLE.items()) + f"# {HOSTILE}\n",
            settings=ARTICLE,
        ),
    ]
    records = []
    for number in range(1, trials + 1):
        for arm in arms:
            directory = f"trials/{number:02}-{arm.name}"
            write_run(path / directory, plans[arm.name], seed=2 * number + (arm.name == "after"))
            written = {key: value.replace(" ", "\t") for key, value in arm.settings.items()}
            client = BASELINE | written
            records.append(
                Trial(
                    arm=arm.name,
                    number=number,
                    used=plans[arm.name].validity == "valid",
                    directory=directory,
                    sysctls={"client": client, "server": BASELINE},
                    skipped={},
                    started_at=f"2026-11-20T10:{number:02}:00+00:00",
                    faults=[FaultDone(fault=f"{fault} at 2s", at=2.0 + number / 1000)]
                    if (fault := plans[arm.name].fault)
                    else [],
                )
            )
    plan = plans["before"]
    experiment = Experiment(
        name=path.name,
        testbed="netns",
        started_at="2026-11-20T10:00:00+00:00",
        finished=finished,
        config=config
        or ExperimentConfig(
            rate=plan.rate, duration=plan.duration, trials=trials, close="client", servers=1
        ),
        environment=environment(),
        arms=arms,
        trials=records,
        baseline={"client": BASELINE, "server": BASELINE},
    )
    (path / EXPERIMENT).write_bytes(encode(experiment))
    return path
