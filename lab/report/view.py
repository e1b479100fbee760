"""What the reports show, as rows of text: shared by the page and its peers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lab import text
from lab.compare import METRICS, TITLES, flatten, ranked_causes
from lab.predictions import error
from lab.records import Arm, Comparison, Experiment, MetricComparison, VerdictName
from lab.stats import reachable
from lab.store import Stored
from loadgen.outcome import DESCRIPTIONS, Outcome
from loadgen.summary import Fault, Summary

LABELS: Final[dict[VerdictName, tuple[str, str, str]]] = {
    "prevents": ("good", "✓", "Prevents the failures"),
    "reduces": ("good", "↓", "Reduces the failures"),
    "no_effect": ("calm", "=", "No detectable effect"),
    "worse": ("bad", "✗", "Makes it worse"),
    "inconclusive": ("warn", "?", "Inconclusive"),
    "generator_limited": ("warn", "!", "Not measured: the generator was the limit"),
}
"""By verdict: tone, sign and words. The tone is never the only bearer of the meaning."""

FAULTS: Final[dict[Fault, str]] = {
    "generator": "the load generator",
    "client_host": "the client’s host",
    "network": "the network",
    "server_host": "the server’s host",
    "server": "the server program",
}
_UNREADABLE: Final = "not read"


def _estimate(metric: MetricComparison, arm: str) -> dict[str, str]:
    estimate = metric.before if arm == "before" else metric.after
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
            "before": _estimate(metric, "before"),
            "after": _estimate(metric, "after"),
            "change": text.change(metric).replace(text.NOTHING, "")
            if judgement(metric)
            else text.change(metric),
            "judgement": judgement(metric),
            "p": text.probability(metric.p),
        }
        for metric in comparison.metrics
    ]


def _outcome_rows(trials: Sequence[Summary]) -> list[dict[str, str]]:
    """Return how the attempts and arrivals of an arm ended, all trials together."""
    total: dict[str, int] = {}
    for summary in trials:
        for name, number in summary.outcomes.items():
            total[name] = total.get(name, 0) + number
    due = sum(summary.scheduled for summary in trials)
    rows = [
        (name.replace("_", " "), number, DESCRIPTIONS.get(Outcome(name), ""))
        for name, number in sorted(total.items(), key=lambda item: -item[1])
        if number and name in set(Outcome)
    ]
    extra = (
        ("never started", "dropped", "the arrival was overdue and given up"),
        ("unfinished", "unfinished", "still under way at the end of the run"),
    )
    for label, field, description in extra:
        number = sum(getattr(summary, field) for summary in trials)
        if number:
            rows.append((label, number, description))
    return [
        {
            "name": name,
            "number": text.count(number),
            "share": text.share(number / due) if due else text.NOTHING,
            "description": description,
        }
        for name, number, description in rows
    ]


def broken(comparison: Comparison) -> list[dict[str, Any]]:
    """Return what broke in each arm: causes with evidence, and all outcomes."""
    arms = []
    for arm in comparison.arms:
        causes = [
            {
                "title": cause.title,
                "fault": FAULTS[cause.fault],
                "connections": text.count(connections),
                "trials": f"{times} of {text.plural(len(arm.trials), 'trial')}",
                "first": text.NOTHING if cause.first_at is None else text.seconds(cause.first_at),
                "evidence": [evidence.text for evidence in cause.evidence],
                "remedy": cause.remedy,
            }
            for cause, connections, times in ranked_causes(arm.trials)
        ]
        explanations = {
            explanation.name: explanation.text
            for summary in arm.trials
            for explanation in summary.explanations
        }
        arms.append(
            {
                "name": arm.name,
                "tuning": arm.tuning,
                "trials": len(arm.trials),
                "lost": sum(summary.failed + summary.dropped for summary in arm.trials),
                "causes": causes,
                "explanations": list(explanations.values()),
                "outcomes": _outcome_rows(arm.trials),
            }
        )
    return arms


def _same(value: str) -> str:
    return " ".join(value.split())


def _read_back(experiment: Experiment, arm: str) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for trial in experiment.trials:
        if trial.arm == arm:
            for role, settings in trial.sysctls.items():
                for key, value in settings.items():
                    found.setdefault((role, key), set()).add(_same(value))
    return found


def _sysctl_cell(arm: Arm, key: str, values: set[str]) -> dict[str, Any]:
    shown = " | ".join(sorted(values)) if values else _UNREADABLE
    asked = arm.settings.get(key)
    wanted = None if asked is None else _same(asked)
    return {
        "value": shown,
        "asked": wanted,
        "set": values == {wanted},
        "varies": len(values) > 1,
        "refused": bool(wanted is not None and values and values != {wanted}),
    }


def sysctl_rows(experiment: Experiment) -> list[dict[str, Any]]:
    """Return each setting by role: in a fresh namespace, before and after as read back.

    Rows in which nothing differs and nothing was asked for come last. Where client and server
    agree in every column they share a row.
    """
    arms = experiment.arms[:2]
    by_arm = [_read_back(experiment, arm.name) for arm in arms]
    fresh = {
        (role, key): _same(value)
        for role, settings in experiment.baseline.items()
        for key, value in settings.items()
    }
    places = sorted({*fresh, *(place for found in by_arm for place in found)})
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for role, key in places:
        cells = [
            _sysctl_cell(arm, key, found.get((role, key), set()))
            for arm, found in zip(arms, by_arm, strict=True)
        ]
        default = fresh.get((role, key), _UNREADABLE)
        readings = {default, *(cell["value"] for cell in cells)} - {_UNREADABLE}
        signature = (key, repr((default, cells)))
        if signature in rows:
            rows[signature]["roles"].append(role)
            continue
        rows[signature] = {
            "key": key,
            "roles": [role],
            "fresh": default,
            "cells": cells,
            "changed": len(readings) > 1,
            "asked": any(cell["set"] or cell["refused"] for cell in cells),
        }
    return sorted(rows.values(), key=lambda row: (not row["changed"], row["key"], row["roles"]))


def facts(experiment: Experiment, comparison: Comparison) -> list[tuple[str, str]]:
    """Return what a reader must know before anything else, as name and value."""
    runs = [summary for arm in comparison.arms for summary in arm.trials]
    config = (flatten(runs[0].config) if runs else {}) | flatten(experiment.config)
    environment = flatten(experiment.environment)
    facts: list[tuple[str, str]] = []

    def add(label: str, source: Mapping[str, str], *names: str, suffix: str = "") -> None:
        found = next((source[name] for name in names if name in source), None)
        if found is not None:
            facts.append((label, f"{found}{suffix}"))

    rate = config.get("rate")
    if rate is not None:
        facts.append(("Load", text.quantity(float(rate), "/s") if _number(rate) else rate))
    duration = config.get("duration")
    if duration is not None:
        facts.append(("For", text.seconds(float(duration)) if _number(duration) else duration))
    sizes = [len(arm.trials) for arm in comparison.arms]
    facts.append(("Trials", " + ".join(str(size) for size in sizes)))
    add("Closes first", config, "close")
    add("Kernel", environment, "kernel", "kernel.release", "uname.release")
    add("CPUs", environment, "cpus", "cpu.count", "cpu_count")
    facts.append(("Testbed", experiment.testbed))
    facts.append(("Started", text.moment(experiment.started_at)))
    return facts


def _number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def warnings(comparison: Comparison) -> list[dict[str, str]]:
    """Return each warning once, with the trials that gave it."""
    rows = [{"text": line, "where": "", "remedy": ""} for line in comparison.warnings]
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
        rows.append({"text": message, "where": where, "remedy": remedy})
    return rows


def trial_rows(stored: Stored) -> list[dict[str, Any]]:
    """Return every trial, those that do not count too."""
    rows = []
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
        rows.append(
            {
                "arm": trial.trial.arm,
                "label": label,
                "cells": cells,
                "state": state if counted else f"{state}, not counted",
                "directory": trial.trial.directory,
            }
        )
    return rows


def skipped(experiment: Experiment) -> list[str]:
    """Return one line for each line of a tuning that is out of scope here, and why."""
    lines = {
        f"{trial.arm}: {key} was not applied: {reason}": None
        for trial in experiment.trials
        for key, reason in trial.skipped.items()
    }
    return list(lines)


def prediction_rows(comparison: Comparison) -> list[dict[str, str]]:
    """Return what the capacity model said, what was measured, and how far apart they are."""
    rows = []
    for found in comparison.predictions:
        off = error(found)
        rows.append(
            {
                "name": found.name,
                "predicted": text.quantity(found.predicted, found.unit),
                "measured": text.quantity(found.measured, found.unit),
                "error": text.NOTHING if off is None else f"{off:+.1%}".replace("-", "−"),
            }
        )
    return rows


def confidence(comparison: Comparison) -> str:
    """Return the least confidence that the intervals of the table achieve."""
    achieved = [
        estimate.confidence
        for metric in comparison.metrics
        for estimate in (metric.before, metric.after)
        if estimate is not None and not next(m for m in METRICS if m.name == metric.name).never
    ]
    return text.share(min(achieved)) if achieved else text.NOTHING
