"""`summary.md`: the verdict and its numbers, short enough for a pull request's comment."""

from __future__ import annotations

import re
from typing import Final

from lab import text
from lab.compare import flatten, ranked_causes
from lab.records import Comparison, Experiment
from lab.report.view import FAULTS, LABELS, metric_rows, prediction_rows

_ACTIVE: Final = re.compile(r"([\\`*_{}\[\]<>#|~!&@$])")
_MOST: Final = 12
"""Lines of a list beyond which the rest is only counted."""


def escape(value: str) -> str:
    """Return `value` so that Markdown shows it as it is, on one line, even in a table."""
    return _ACTIVE.sub(r"\\\1", " ".join(value.split()))


def _list(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    shown = [f"- {escape(line)}" for line in lines[:_MOST]]
    if len(lines) > _MOST:
        shown.append(f"- and {len(lines) - _MOST} more, in comparison.json")
    return [f"**{title}**", "", *shown, ""]


def _metrics(comparison: Comparison) -> list[str]:
    names = [escape(arm.tuning) for arm in comparison.arms]
    lines = [
        f"| | before: {names[0]} | after: {names[1]} | change | p |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in metric_rows(comparison):
        cells = [
            f"{row[arm]['median']} ({row[arm]['interval']})"
            if row[arm]["interval"]
            else row[arm]["median"]
            for arm in ("before", "after")
        ]
        change = f"{row['change']} {row['judgement']}".strip().replace("~", r"\~")
        p = row["p"].replace("<", "&lt;")
        lines.append(f"| {row['title']} | {' | '.join(cells)} | {change} | {p} |")
    return lines


def _causes(comparison: Comparison) -> list[str]:
    lines = []
    for arm in comparison.arms:
        for cause, connections, times in ranked_causes(arm.trials):
            lines.append(
                f"{arm.name}: {cause.title} ({FAULTS[cause.fault]}; {text.count(connections)} "
                f"connections in {times} of {text.plural(len(arm.trials), 'trial')}). "
                f"What helps: {cause.remedy}"
            )
    return lines


def _predictions(comparison: Comparison) -> list[str]:
    rows = prediction_rows(comparison)
    if not rows:
        return []
    return [
        "| capacity model | predicted | measured | error |",
        "|---|--:|--:|--:|",
        *(
            f"| {escape(row['name'])} | {row['predicted']} | {row['measured']} | {row['error']} |"
            for row in rows
        ),
        "",
    ]


def render(experiment: Experiment, comparison: Comparison) -> str:
    """Return the Markdown."""
    _, sign, words = LABELS[comparison.verdict]
    config = flatten(experiment.config)
    told = [
        f"{label} {config[key]}{unit}"
        for key, label, unit in (
            ("rate", "rate", "/s"), ("duration", "duration", " s"), ("close", "closed by", ""),
        )
        if key in config
    ]  # fmt: skip
    kernel = flatten(experiment.environment).get("kernel")
    told += [f"kernel {kernel}"] if kernel else []
    told.append(f"testbed {experiment.testbed}")
    sizes = " + ".join(str(len(arm.trials)) for arm in comparison.arms)
    told.append(f"{sizes} trials")
    gates = [
        f"{'pass' if gate.passed else 'FAIL'}: {gate.arm}: {gate.expression} ({gate.value})"
        for gate in comparison.gates
    ]
    lines = [
        f"## {sign} {words}: {escape(comparison.name)}",
        "",
        f"{escape(comparison.sentence)}",
        "",
        *_list("Besides the tuning, this differs", comparison.differences),
        *_list("Missing", comparison.missing),
        *_list("Out of scope here", comparison.skipped),
        *_list("Gates", gates),
        *_metrics(comparison),
        "",
        "Medians over trials with their confidence intervals; \\~ is no detectable change. "
        f"{escape(', '.join(told))}.",
        "",
        *_list("What broke", _causes(comparison)),
        *_predictions(comparison),
        *_list("Warnings", comparison.warnings),
        *_list("Run again", comparison.repetitions),
    ]
    return "\n".join(lines).rstrip() + "\n"
