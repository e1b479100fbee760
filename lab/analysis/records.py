"""The records of an experiment: what was compared, how, and with what result.

An experiment's directory holds `experiment.json` (`Experiment`), one run directory for each trial
under `trials/`, and the reports, which can all be rebuilt from the first two.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from loadgen.config import CloseMode
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.summary import Environment, Number, Record, Summary

EXPERIMENT_SCHEMA: Final = "churnlab.experiment/1"
COMPARISON_SCHEMA: Final = "churnlab.comparison/1"
BEFORE: Final = "before"
AFTER: Final = "after"
"""The arms of a comparison, by name."""

VerdictName = Literal[
    "prevents",
    "reduces",
    "hides",
    "no_effect",
    "worse",
    "not_exercised",
    "inconclusive",
    "generator_limited",
]


class Arm(Record, frozen=True, kw_only=True):
    """One tuning under test."""

    name: str
    """`before` or `after`; in an ablation, which lines the arm has."""
    tuning: str
    """The tuning's name."""
    source: str
    """The file it came from, or `built-in`."""
    text: str
    """The sysctl.d file, as it was."""
    settings: dict[str, str]
    """What the file sets, by dotted key."""
    roles: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    """Where each role has a file of its own, what that sets; empty where one file is for both ends."""

    def asked(self, role: str) -> dict[str, str]:
        """Return what was to be set in a role's namespace."""
        if self.roles:
            return self.roles.get(role, {})
        return self.settings if role in {ROLE_CLIENT, ROLE_SERVER} else {}


class FaultDone(Record, frozen=True, kw_only=True):
    """A fault that was carried out in a trial."""

    fault: str
    """As `--fault` has it."""
    at: float | None
    """When it was done, in seconds of the run's clock; None when it was not, see `error`."""
    error: str = ""


class Trial(Record, frozen=True, kw_only=True):
    """One run of one arm. A spoiled trial stays on record beside the one that replaced it."""

    arm: str
    number: int
    """1 to the number of trials."""
    repetition: int = 0
    """0 for the first try; how many spoiled tries went before."""
    used: bool
    """False when the generator or the machine spoiled it and it was run again."""
    directory: str
    """The run directory, relative to the experiment's."""
    sysctls: dict[str, dict[str, str]]
    """Read back in the trial's namespaces: by role, then by dotted key."""
    skipped: dict[str, str]
    """Lines of the tuning that are out of scope here, by key, each with line number and reason."""
    started_at: str
    """RFC 3339."""
    faults: list[FaultDone] = msgspec.field(default_factory=list)
    """What was done to the servers on purpose, in the order of time."""


class FoundRate(msgspec.Struct, frozen=True, kw_only=True):
    """How a rate that nobody gave was found."""

    closed_loop_rate: float
    """What the closed loop reached."""
    share: float
    """Of that, what an open loop is asked for at the most."""


class ExperimentConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an experiment was made: the effective options of `lab run`, `lab ablate` or the compose lab.

    What one of them has no option for is left out. What an experiment of another version says beyond
    this is passed over.
    """

    name: str | None = None
    calibration: FoundRate | None = None
    rate: float | None = None
    """Arrivals per second."""
    duration: float | None = None
    """Seconds of a trial."""
    trials: int | None = None
    """Of each arm."""
    server: str | None = None
    server_url: str | None = None
    tls: bool | None = None
    servers: int | None = None
    close: CloseMode | None = None
    op: str | None = None
    timeout: float | None = None
    """Seconds."""
    max_lateness: float | None = None
    """Seconds."""
    workers: int | None = None
    memcached_threads: int | None = None
    memcached_connections: int | None = None
    memcached_memory: int | None = None
    """MiB."""
    memcached_options: list[str] | None = None
    names: dict[str, str] | None = None
    """Of the tunings, by arm, as the user gave them."""
    source_addresses: int | None = None
    rtt: float | None = None
    """Seconds."""
    loadgen: list[str] | None = None
    """The words after `loadgen run` that all trials have in common."""
    topology: str | None = None
    nat_ports: tuple[int, int] | msgspec.UnsetType | None = msgspec.UNSET
    """None where a NAT takes those that the kernel chooses."""
    nat_room: int | msgspec.UnsetType | None = msgspec.UNSET
    """Entries; None where a NAT has its whole table."""
    proxy: str | None = None
    gates: list[str] | None = None
    faults: list[str] | None = None
    notes: list[str] | None = None
    """What was asked for and could not be had."""


class Experiment(Record, frozen=True, kw_only=True):
    """`experiment.json`."""

    schema: Literal["churnlab.experiment/1"] = EXPERIMENT_SCHEMA
    name: str
    testbed: str
    started_at: str
    """RFC 3339."""
    finished: bool
    """False while it runs, and from then on when it was interrupted."""
    config: ExperimentConfig
    environment: Environment
    arms: list[Arm]
    trials: list[Trial]
    baseline: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    """Values that a fresh namespace had before any tuning, by role and dotted key."""

    def __post_init__(self) -> None:
        """Check that each trial is of one of the arms.

        Raises:
            ValueError: naming the trial and its arm.
        """
        arms = {arm.name for arm in self.arms}
        for trial in self.trials:
            if trial.arm not in arms:
                raise ValueError(f"{trial.directory} is of the arm {trial.arm!r}: there is none")


class Estimate(Record, frozen=True, kw_only=True):
    """A median over trials with its confidence interval."""

    median: float
    ci: tuple[float, float]
    confidence: float
    """Achieved by `ci`, 0 to 1; below 0.95 when there are fewer than 6 trials."""
    n: int
    """Trials that have a value."""


class MetricComparison(Record, frozen=True, kw_only=True):
    """One metric before and after."""

    name: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    before: Estimate | None
    after: Estimate | None
    change: float | None
    """Relative: +0.5 is half as much again. None where it has no meaning (from zero)."""
    p: float | None
    """Two-sided, exact Mann-Whitney U."""
    effect: float | None
    """Cliff's delta, -1 to 1: how surely a trial of one arm exceeds a trial of the other."""
    significant: bool


class Prediction(Record, frozen=True, kw_only=True):
    """What the capacity model said and what was measured."""

    name: str
    """Begins with the arm's name."""
    predicted: Number
    measured: Number | None
    """Median over the trials that count; None where it never happened, or is not shown."""
    unit: Literal["1", "s", "/s"] = "1"
    outcome: Literal["measured", "never", "at_least", "below", "not_shown"] = "measured"
    """`never`: what was predicted did not come. `at_least` and `below`: the capacity was seen to be
    `measured` or more, or less than it. `not_shown`: this experiment says nothing about it."""
    wrong: bool = False
    """What happened contradicts the prediction; a figure that is merely off has an error instead."""


class HostFigure(Record, frozen=True, kw_only=True):
    """What one host of a topology held: a median over the trials that count."""

    role: str
    name: str
    before: Number | None
    after: Number | None


class Gate(Record, frozen=True, kw_only=True):
    """A condition that an arm was held to: an absolute threshold, or one relative to `before`."""

    expression: str
    arm: str
    value: str
    """What was measured, for people."""
    passed: bool = msgspec.field(name="pass")


class ArmResult(Record, frozen=True, kw_only=True):
    """An arm with the summaries of the trials that count."""

    name: str
    tuning: str
    trials: list[Summary]


class Comparison(Record, frozen=True, kw_only=True):
    """`comparison.json`."""

    schema: Literal["churnlab.comparison/1"] = COMPARISON_SCHEMA
    name: str
    verdict: VerdictName
    sentence: str
    """The verdict in one sentence with its numbers, for a newcomer."""
    alpha: float
    """The significance level that `significant` refers to."""
    arms: list[ArmResult]
    metrics: list[MetricComparison]
    predictions: list[Prediction]
    warnings: list[str]
    repetitions: list[str]
    """One line for each spoiled trial that was run again."""
    gates: list[Gate] = msgspec.field(default_factory=list)
    missing: list[str] = msgspec.field(default_factory=list)
    """What an interrupted experiment or a damaged file left out; one line each."""
    differences: list[str] = msgspec.field(default_factory=list)
    """What besides the tuning differs between the arms; always empty for one experiment."""
    skipped: list[str] = msgspec.field(default_factory=list)
    """Lines of a tuning that are out of scope here, each with arm, line and reason."""
    faults: list[str] = msgspec.field(default_factory=list)
    """What was done to the servers on purpose in every trial, and whether it was; one line each."""
    hosts: list[HostFigure] = msgspec.field(default_factory=list)
    """What each host held, where a box stands between client and servers."""
