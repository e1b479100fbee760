"""Before against after: every metric over the trials of the two arms, and the verdict. Pure.

A value belongs to a trial; the trials of an arm are the sample. Dropped arrivals count as lost in
a valid trial: the generator was fast enough there, so that a drop is the kernel's doing (its
search for a free port, as a rule) and a user would have seen a request fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from lab.analysis.differences import Difference
from lab.analysis.flattery import reached, resets, signs, unexercised
from lab.analysis.gates import RelativeGate
from lab.analysis.hosts import figures, whose
from lab.analysis.records import (
    ArmResult,
    Comparison,
    Estimate,
    Experiment,
    Gate,
    MetricComparison,
    Prediction,
    Trial,
)
from lab.analysis.stats import (
    ALPHA,
    cliffs_delta,
    mann_whitney,
    median_interval,
    trials_for_interval,
)
from lab.analysis.text import count, plural
from lab.analysis.verdict import ArmFacts, Loss, verdict_of
from loadgen.report.rows import gate, ranked_causes
from loadgen.summary import EMULATED_WORDS, Summary, emulated

Better = Literal["higher", "lower", "neither"]


class ComparedMetric(msgspec.Struct, frozen=True):
    """One number of a trial, and which way of it is good."""

    name: str
    title: str
    unit: str
    """`share`, `s`, `/s` or `1`."""
    better: Better
    value: Callable[[Summary], float | None]
    never: bool = False
    """True where no value means "it never happened": later than any that did."""


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _latency(name: str, field: str) -> Callable[[Summary], float | None]:
    def value(summary: Summary) -> float | None:
        found = summary.latency.get(name)
        return None if found is None else getattr(found, field)

    return value


METRICS: Final = (
    ComparedMetric(
        "lost_share",
        "Connections lost",
        "share",
        "lower",
        lambda s: s.lost_share,
    ),
    ComparedMetric(
        "ok_share", "Connections served", "share", "higher", lambda s: _over(s.ok, s.scheduled)
    ),
    ComparedMetric("achieved_rate", "Served per second", "/s", "higher", lambda s: s.rate.achieved),
    ComparedMetric("failed", "Failed attempts", "1", "lower", lambda s: s.failed),
    ComparedMetric("dropped", "Arrivals never started", "1", "lower", lambda s: s.dropped),
    ComparedMetric(
        "first_failure_at",
        "First loss after",
        "s",
        "higher",
        lambda s: s.first_failure_at,
        never=True,
    ),
    ComparedMetric(
        "started_before_first_failure",
        "Connections before the first loss",
        "1",
        "higher",
        lambda s: s.started_before_first_failure,
        never=True,
    ),
    ComparedMetric("connect_p50", "Connect, median", "s", "lower", _latency("connect", "p50")),
    ComparedMetric(
        "connect_p99", "Connect, 99th percentile", "s", "lower", _latency("connect", "p99")
    ),
    ComparedMetric(
        "total_p99", "Whole request, 99th percentile", "s", "lower", _latency("total", "p99")
    ),
    ComparedMetric(
        "connect_call_seconds",
        "Time inside one connect() call",
        "s",
        "lower",
        lambda s: _over(s.generator.connect_call_seconds, s.started),
    ),
    ComparedMetric(
        "cpu_system_per_connection",
        "Client kernel CPU per connection",
        "s",
        "lower",
        lambda s: _over(s.generator.cpu_system, s.started),
    ),
)
TITLES: Final = {metric.name: metric.title for metric in METRICS}


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """Return the median of what was measured, with its interval; None where nothing was."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    found = median_interval(known)
    return Estimate(
        median=found.median, ci=(found.low, found.high), confidence=found.confidence, n=found.n
    )


def compare_metric(
    metric: ComparedMetric,
    before: Sequence[Summary],
    after: Sequence[Summary],
    alpha: float = ALPHA,
) -> MetricComparison:
    """Return one metric over the trials of both arms."""
    first, second = ([metric.value(summary) for summary in arm] for arm in (before, after))
    estimates = estimate(first), estimate(second)
    if metric.never:
        ranked = [[math.inf if v is None else v for v in values] for values in (first, second)]
    else:
        ranked = [[v for v in values if v is not None] for values in (first, second)]
    p = effect = None
    if ranked[0] and ranked[1] and any(estimates):
        p = mann_whitney(*ranked)
        effect = cliffs_delta(*ranked)
    change = None
    if estimates[0] is not None and estimates[1] is not None and estimates[0].median:
        change = (estimates[1].median - estimates[0].median) / estimates[0].median
    return MetricComparison(
        name=metric.name,
        unit=metric.unit,
        better=metric.better,
        before=estimates[0],
        after=estimates[1],
        change=change,
        p=p,
        effect=effect,
        significant=p is not None and p <= alpha,
    )


class ArmTrials(msgspec.Struct, frozen=True):
    """The trials of one arm, sorted into those that count and those that do not."""

    name: str
    tuning: str
    summaries: tuple[Summary, ...]
    """Of the trials that count: valid and not replaced by a repetition."""
    limited: int = 0
    unusable: int = 0


def facts(arm: ArmTrials) -> ArmFacts:
    """Return what the verdict needs of an arm."""
    return ArmFacts(
        tuning=arm.tuning,
        losses=tuple(
            Loss(
                scheduled=summary.scheduled,
                failed=summary.failed,
                dropped=summary.dropped,
                at=summary.first_failure_at,
                started_before=summary.started_before_first_failure,
            )
            for summary in arm.summaries
        ),
        limited=arm.limited,
        unusable=arm.unusable,
        causes=tuple(
            cause.title for cause, connections, _ in ranked_causes(arm.summaries) if connections
        ),
        signs=signs(arm.summaries),
        resets=resets(arm.summaries),
        reached=reached(arm.summaries),
    )


def sort_trials(
    experiment: Experiment, summaries: Mapping[str, Summary | None], arm: str
) -> ArmTrials:
    """Return the trials of `arm`, those that count apart from those that do not.

    Args:
        experiment: the record of the experiment.
        summaries: by the trial's directory; None where there is none to read.
        arm: the arm's name.
    """
    counted: list[Summary] = []
    limited = unusable = 0
    for trial in experiment.trials:
        if trial.arm != arm:
            continue
        summary = summaries.get(trial.directory)
        if summary is None or summary.validity == "partial":
            unusable += 1
        elif summary.validity == "generator_limited":
            limited += 1
        elif trial.used:
            counted.append(summary)
    tuning = next((known.tuning for known in experiment.arms if known.name == arm), arm)
    return ArmTrials(arm, tuning, tuple(counted), limited, unusable)


def repetitions(experiment: Experiment, summaries: Mapping[str, Summary | None]) -> list[str]:
    """Return one line for each trial that does not count."""

    def why(trial: Trial) -> str | None:
        summary = summaries.get(trial.directory)
        if summary is None:
            return None
        if summary.validity == "generator_limited":
            reasons = "; ".join(summary.generator.reasons) or "the generator could not keep up"
            return f"spoiled by the generator: {reasons}"
        if summary.validity == "partial":
            return "partial: it was cut short"
        return None if trial.used else "replaced by a repetition"

    lines = []
    for trial in experiment.trials:
        reason = why(trial)
        if reason is not None:
            again = f", repetition {trial.repetition}" if trial.repetition else ""
            lines.append(f"{trial.arm}, trial {trial.number}{again}: {reason}; not counted")
    return lines


def _absolute_gates(arm: ArmTrials) -> list[Gate]:
    """Return the thresholds of the arm's runs: one passes when it passed in every trial.

    Only the tuning under test is held to them: that `before` fails is what an experiment shows.
    """
    results: dict[str, list[tuple[float | None, bool]]] = {}
    for summary in arm.summaries:
        for threshold in summary.verdict.thresholds:
            row = results.setdefault(threshold.expression, [])
            row.append((threshold.value, threshold.passed))
    gates = []
    for expression, rows in results.items():
        values = sorted(value for value, _ in rows if value is not None)
        least, most = (gate(expression, v) for v in (values[0], values[-1])) if values else ("", "")
        spread = least if least == most else f"{least} to {most}"
        spread = spread or "not measured"
        failing = sum(1 for _, passed in rows if not passed)
        text = spread if not failing else f"{spread}; broken in {failing} of {len(rows)} trials"
        gates.append(Gate(expression=expression, arm=arm.name, value=text, passed=not failing))
    return gates


def _warnings(before: ArmTrials, after: ArmTrials) -> list[str]:
    lines = []
    need = trials_for_interval()
    sizes = [len(arm.summaries) for arm in (before, after) if arm.summaries]
    if sizes and min(sizes) < need:
        achieved = max(0.0, 1 - 2.0 ** (1 - min(sizes)))
        few = (
            f"with {min(sizes)} they are the whole range and cover the median with {achieved:.1%}"
            if min(sizes) > 1
            else "one has none"
        )
        lines.append(f"need >= {need} trials of each arm for intervals of 95%: {few}")
    if any(emulated(s.environment) for arm in (before, after) for s in arm.summaries):
        lines.append(EMULATED_WORDS)
    for arm in (before, after):
        unbalanced = sum(1 for summary in arm.summaries if summary.unaccounted())
        if unbalanced:
            lines.append(
                f"{arm.name}: the books of {plural(unbalanced, 'trial')} do not balance "
                "(scheduled = started + dropped, started = ok + failed + unfinished)"
            )
        unfinished = sum(summary.unfinished for summary in arm.summaries)
        if unfinished:
            lines.append(
                f"{arm.name}: {count(unfinished)} attempts were unfinished at the end; they count "
                "neither as served nor as lost"
            )
    return lines


def compare(
    name: str,
    before: ArmTrials,
    after: ArmTrials,
    *,
    alpha: float = ALPHA,
    predictions: Sequence[Prediction] = (),
    repeated: Sequence[str] = (),
    missing: Sequence[str] = (),
    differences: Sequence[Difference] = (),
    gates: Sequence[RelativeGate] = (),
    skipped: Sequence[str] = (),
    faults: Sequence[str] = (),
    claim: bool = True,
    tuned: Sequence[str] = (),
) -> Comparison:
    """Return the comparison of two arms.

    `claim` is as in `lab.analysis.verdict.verdict_of`; `tuned` are the roles that the second arm's tuning
    was applied to.
    """
    verdict, sentence = verdict_of(
        facts(before),
        facts(after),
        alpha=alpha,
        differences=tuple(difference.name for difference in differences),
        load=tuple(difference.name for difference in differences if difference.load),
        unexercised=unexercised([*before.summaries, *after.summaries]),
        claim=claim,
    )
    if verdict in {"prevents", "reduces", "hides", "no_effect", "worse", "inconclusive"}:
        helped = verdict in {"prevents", "reduces", "hides"}
        sentence += whose(before.summaries, after.summaries, tuned, helped=helped)
    return Comparison(
        name=name,
        verdict=verdict,
        sentence=sentence,
        alpha=alpha,
        arms=[
            ArmResult(name=arm.name, tuning=arm.tuning, trials=list(arm.summaries))
            for arm in (before, after)
        ],
        metrics=[
            compare_metric(metric, before.summaries, after.summaries, alpha) for metric in METRICS
        ],
        predictions=list(predictions),
        warnings=_warnings(before, after),
        repetitions=list(repeated),
        gates=[
            *_absolute_gates(after),
            *(gate.check(before.summaries, after.summaries, alpha) for gate in gates),
        ],
        missing=list(missing),
        differences=[difference.text for difference in differences],
        skipped=list(skipped),
        faults=list(faults),
        hosts=figures(before.summaries, after.summaries),
    )
