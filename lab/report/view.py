"""What the reports show, as rows of text: shared by the page and its peers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from lab.analysis import text
from lab.analysis.compare import METRICS, TITLES
from lab.analysis.predictions import error
from lab.analysis.records import (
    AFTER,
    BEFORE,
    Comparison,
    Experiment,
    ExperimentConfig,
    FaultDone,
    MetricComparison,
    Prediction,
    VerdictName,
)
from lab.analysis.stats import reachable
from lab.analysis.store import Stored
from loadgen.report import rows
from loadgen.report.page.figures import Course
from loadgen.report.rows import Told
from loadgen.summary import Environment
from loadgen.units import format_duration

Tone = Literal["good", "bad", "warn", "calm", "mask", "idle"]
"""The colour of a verdict; each has one of its own on the page and on a terminal."""


class Look(NamedTuple):
    """How a verdict is shown. The tone is never the only bearer of the meaning."""

    tone: Tone
    sign: str
    words: str


LABELS: Final[dict[VerdictName, Look]] = {
    "prevents": Look("good", "✓", "Prevents the failures"),
    "reduces": Look("good", "↓", "Reduces the failures"),
    "hides": Look("mask", "≈", "Hides the failures, does not prevent them"),
    "no_effect": Look("calm", "=", "No detectable effect"),
    "worse": Look("bad", "✗", "Makes it worse"),
    "not_exercised": Look("idle", "∅", "Nothing was put to the test"),
    "inconclusive": Look("warn", "?", "Inconclusive"),
    "generator_limited": Look("warn", "!", "Not measured: the generator was the limit"),
}


def _estimate(metric: MetricComparison, arm: str) -> dict[str, str]:
    estimate = metric.before if arm == BEFORE else metric.after
    definition = next(known for known in METRICS if known.name == metric.name)
    if estimate is None:
        return {"median": "never" if definition.never else text.NOTHING, "interval": ""}
    return {
        "median": text.quantity(estimate.median, metric.unit),
        "interval": text.interval(estimate, metric.unit),
    }


def judgement(metric: MetricComparison) -> str:
    """Return `better` or `worse` for a detected change, else nothing."""
    if not metric.significant or metric.better == "neither" or not metric.effect:
        return ""
    return "better" if (metric.effect > 0) == (metric.better == "higher") else "worse"


def decidable(comparison: Comparison) -> bool:
    """Return whether any test of so many trials could find a difference at all."""
    before, after = (len(arm.trials) for arm in comparison.arms)
    return reachable(before, after, comparison.alpha)


def metric_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return each metric before and after, its change and what to think of it."""
    return [
        {
            "name": metric.name,
            "title": TITLES[metric.name],
            "before": _estimate(metric, BEFORE),
            "after": _estimate(metric, AFTER),
            "change": text.change(metric).replace(text.NOTHING, "")
            if judgement(metric)
            else text.change(metric),
            "judgement": judgement(metric),
            "p": text.probability(metric.p),
            "effect": text.effect(metric.effect),
        }
        for metric in comparison.metrics
    ]


def told(course: Course) -> Told:
    """Return the runs of one arm to describe it, the one that the charts show first."""
    return Told(course.labels, course.summaries, course.shown)


def broken(comparison: Comparison, courses: Sequence[Course]) -> list[dict[str, Any]]:
    """Return what broke in each arm: causes with evidence, the first failures, and all outcomes."""
    arms = []
    for arm, course in zip(comparison.arms, courses, strict=True):
        # Where no trial counts, the others are shown: they are all there is.
        runs = told(course) if arm.trials else Told([], [], 0)
        arms.append(
            {
                "name": arm.name,
                "ink": course.ink,
                "tuning": arm.tuning,
                "trials": len(arm.trials),
                "lost": sum(summary.lost for summary in arm.trials),
                "causes": rows.causes(runs),
                "explanations": rows.explanations(runs),
                "snapshots": rows.snapshots(runs),
                "outcomes": rows.outcomes(arm.trials),
            }
        )
    return arms


def title(comparison: Comparison) -> str:
    """Return what was compared, for a reader who did not run it."""
    before, after = (arm.tuning for arm in comparison.arms)
    return f"{after} against {before}"


def reasons(comparison: Comparison) -> list[str]:
    """Return what broke in each arm and why, and what held where a limit was near, a line each."""
    lines = []
    for arm in comparison.arms:
        of = f"of {text.plural(len(arm.trials), 'trial')}"
        for cause, connections, times in rows.ranked_causes(arm.trials):
            lines.append(
                f"{arm.name}: {cause.title} ({rows.FAULTS[cause.fault]}; {text.count(connections)} "
                f"connections in {times} {of}). What helps: {cause.remedy}"
            )
        runs = Told([""] * len(arm.trials), arm.trials, 0)
        lines += [f"{arm.name}: {row['text']}" for row in rows.explanations(runs)]
    return lines


def facts(experiment: Experiment, comparison: Comparison) -> list[tuple[str, str]]:
    """Return what a reader must know before anything else, as name and value."""
    runs = [summary for arm in comparison.arms for summary in arm.trials]
    # An experiment says what it asked for; what it left to the generator, the runs tell.
    asked, ran = experiment.config, runs[0].config if runs else ExperimentConfig()
    rate, duration = asked.rate or ran.rate, asked.duration or ran.duration
    here = runs[0].environment if runs else Environment()
    if experiment.environment != Environment():
        here = experiment.environment
    facts = []
    if rate is not None:
        facts.append(("Load", text.quantity(rate, "/s")))
    if duration is not None:
        facts.append(("For", format_duration(duration)))
    facts.append(("Trials", " + ".join(str(len(arm.trials)) for arm in comparison.arms)))
    if (close := asked.close or ran.close) is not None:
        facts.append(("Closes first", close))
    if here.kernel is not None:
        facts.append(("Kernel", text.kernel(here)))
    if here.cpus is not None:
        facts.append(("CPUs", str(here.cpus)))
    facts.append(("Testbed", experiment.testbed))
    facts.append(("Started", text.moment(experiment.started_at)))
    return facts


def faults(experiment: Experiment) -> list[str]:
    """Return each fault that the trials had on purpose, and in how many it was carried out."""
    found: dict[str, list[FaultDone]] = {}
    for trial in experiment.trials:
        for done in trial.faults:
            found.setdefault(done.fault, []).append(done)
    lines = []
    for fault, tries in found.items():
        moments = sorted(done.at for done in tries if done.at is not None)
        runs = text.plural(len(tries), "trial")
        line = f"{fault}: carried out in {len(moments)} of {runs}"
        if moments:
            first, last = text.seconds(moments[0]), text.seconds(moments[-1])
            line += f", at {first}" if first == last else f", at {first} to {last}"
        for reason, number in Counter(done.error for done in tries if done.error).items():
            line += f"; not in {number}: {reason}"
        lines.append(line)
    return lines


def warnings(comparison: Comparison) -> list[dict[str, str]]:
    """Return each warning once, with the trials that gave it."""
    lines = [{"text": line, "where": "", "remedy": ""} for line in comparison.warnings]
    seen: dict[tuple[str, str, str], dict[str, int]] = {}
    for arm in comparison.arms:
        for summary in arm.trials:
            for warning in summary.warnings:
                times = seen.setdefault((warning.code, warning.text, warning.remedy), {})
                times[arm.name] = times.get(arm.name, 0) + 1
    sizes = {arm.name: len(arm.trials) for arm in comparison.arms}
    for (_, message, remedy), arms in seen.items():
        where = "; ".join(
            f"{arm}: {n} of {text.plural(sizes[arm], 'trial')}" for arm, n in arms.items()
        )
        lines.append({"text": message, "where": where, "remedy": remedy})
    return lines


def trial_rows(stored: Stored) -> list[dict[str, Any]]:
    """Return every trial, those that do not count too."""
    lines = []
    for trial in stored.trials:
        summary = trial.summary
        label = f"{trial.trial.number}"
        if trial.trial.repetition:
            label += f", repetition {trial.trial.repetition}"
        cells = [text.NOTHING] * 6
        if summary is not None:
            first = summary.first_failure_at
            cells = [
                *(
                    text.count(number)
                    for number in (summary.scheduled, summary.ok, summary.failed, summary.dropped)
                ),
                text.quantity(summary.rate.achieved, "/s"),
                "never" if first is None else text.seconds(first),
            ]
        counted = trial.trial.used and summary is not None and summary.validity == "valid"
        state = "no summary" if summary is None else summary.validity.replace("_", " ")
        lines.append(
            {
                "arm": trial.trial.arm,
                "label": label,
                "cells": cells,
                "state": state if counted else f"{state}, not counted",
                "directory": trial.trial.directory,
            }
        )
    return lines


def prediction_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Return what the capacity model said, what was measured, and how far apart they are."""
    lines = []
    for found in comparison.predictions:
        off = error(found)
        wrong = "wrong" if found.wrong else text.NOTHING
        lines.append(
            {
                "name": found.name,
                "predicted": text.quantity(found.predicted, found.unit),
                "measured": _measured(found),
                "error": wrong if off is None else text.percent(off),
                "state": "wrong" if found.wrong else "",
            }
        )
    return lines


def host_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Return what each host held; nothing without a box between client and servers."""
    return [
        {
            "role": found.role,
            "name": found.name,
            "before": text.quantity(found.before, "1"),
            "after": text.quantity(found.after, "1"),
        }
        for found in comparison.hosts
    ]


def _measured(found: Prediction) -> str:
    """Return what a prediction came to: a figure, a bound, or that it did not come true."""
    if found.outcome == "never":
        return "never"
    sign = {"at_least": "≥ ", "below": "< "}.get(found.outcome, "")
    return f"{sign}{text.quantity(found.measured, found.unit)}"


def confidence(comparison: Comparison) -> str:
    """Return the least confidence that the intervals of the table achieve."""
    achieved = [
        estimate.confidence
        for metric in comparison.metrics
        for estimate in (metric.before, metric.after)
        if estimate is not None and not next(m for m in METRICS if m.name == metric.name).never
    ]
    return text.share(min(achieved)) if achieved else text.NOTHING
