"""Ablations of a made-up kernel: what each arm loses is given, and the books of its trials follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.ablate.arms import plan_arms
from lab.ablate.records import ALL, Ablation, TuningLine, TuningLines
from lab.ablate.weigh import weigh
from lab.analysis.records import Arm, Experiment, ExperimentConfig, Trial
from loadgen.summary import Environment, Generator, MetricRange, Rate, Summary, Validity, Verdict
from tests.loadgen.builders import run_config

DUE = 1_000
SYSCTLS = {
    "net.netfilter.nf_conntrack_max": "262144",
    "net.netfilter.nf_conntrack_buckets": "262144",
}


def summary(lost: float, *, entries: int | None = None, validity: Validity = "valid") -> Summary:
    """Return a run that lost a share of its arrivals."""
    dropped = round(DUE * lost)
    ok = DUE - dropped
    kernel = {}
    if entries is not None:
        held = MetricRange(first=0, last=entries, min=0, max=entries, delta=entries)
        kernel = {"server": {"nf_conntrack_entries": held}}
    return Summary(
        config=run_config(addresses=[("198.19.0.1", 11211)]),
        environment=Environment(kernel="6.18.44"),
        scheduled=DUE,
        started=ok,
        ok=ok,
        failed=0,
        unfinished=0,
        dropped=dropped,
        drops={"overdue": dropped} if dropped else {},
        elapsed=1.0,
        rate=Rate(target=1_000.0, offered=1_000.0, achieved=float(ok)),
        outcomes={"ok": ok},
        errors={},
        replies={},
        first_failure_at=1 - lost if lost else None,
        started_before_first_failure=ok if lost else None,
        causes=[],
        explanations=[],
        latency={},
        lateness=None,
        kernel=kernel,
        generator=Generator(
            workers=1, cpu_user=0.1, cpu_system=0.1, connect_call_seconds=0.1, saturated=False,
            reasons=["slow"] if validity != "valid" else [],
        ),
        warnings=[],
        validity=validity,
        verdict=Verdict(passed=True, thresholds=[]),
    )  # fmt: skip


def lines_of(
    keys: Sequence[str], idle: Sequence[TuningLine] = (), *, tracked: bool = False
) -> TuningLines:
    """Return the lines of a tuning whose active keys are `keys`."""
    arms, questions = plan_arms(keys)
    return TuningLines(
        tuning="mine",
        source="./mine.conf",
        lines=[
            *(
                TuningLine(key=key, value="1", number=n, state="active", reason="0",
                     without=questions[key][0], alone=questions[key][1])
                for n, key in enumerate(keys, start=1)
            ),
            *idle,
        ],
        arms={name: list(has) for name, has in arms.items()},
        tracked=tracked,
        notes=[],
    )  # fmt: skip


def ablation(
    lines: TuningLines, losses: Mapping[str, Sequence[float | Summary]], *, finished: bool = True
) -> Ablation:
    """Return what is made of an experiment whose arms lost these shares, trial by trial."""
    summaries: dict[str, Summary | None] = {}
    trials = []
    for arm, shares in losses.items():
        for number, lost in enumerate(shares, start=1):
            directory = f"trials/{number:02d}-{arm}"
            summaries[directory] = lost if isinstance(lost, Summary) else summary(lost)
            trials.append(
                Trial(
                    arm=arm,
                    number=number,
                    used=True,
                    directory=directory,
                    sysctls={"client": {}, "server": SYSCTLS},
                    skipped={},
                    started_at="",
                )
            )
    experiment = Experiment(
        name="ablation",
        testbed="netns",
        started_at="2026-11-20T10:00:00+00:00",
        finished=finished,
        config=ExperimentConfig(rate=20_000.0, duration=5.0),
        environment=Environment(kernel="6.18.44"),
        arms=[
            Arm(name=arm, tuning="mine" if arm == ALL else arm, source="", text="", settings={})
            for arm in lines.arms
        ],
        trials=trials,
    )
    return weigh(experiment, lines, summaries, [])
