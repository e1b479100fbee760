"""`summary.md`: the verdict and its numbers, short enough for a pull request's comment."""

from __future__ import annotations

from typing import Final

from lab.analysis.records import AFTER, BEFORE, Comparison, Experiment
from lab.report.view import LABELS, facts, host_rows, metric_rows, prediction_rows, reasons, title
from loadgen.foreign import markdown

_MOST: Final = 12
"""Lines of a list beyond which the rest is only counted."""


def _list(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    shown = [f"- {markdown(line)}" for line in lines[:_MOST]]
    if len(lines) > _MOST:
        shown.append(f"- and {len(lines) - _MOST} more, in comparison.json")
    return [f"**{title}**", "", *shown, ""]


def _metrics(comparison: Comparison) -> list[str]:
    names = [markdown(arm.tuning) for arm in comparison.arms]
    lines = [
        f"| | before: {names[0]} | after: {names[1]} | change | p |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in metric_rows(comparison):
        cells = [
            f"{row[arm]['median']} ({row[arm]['interval']})"
            if row[arm]["interval"]
            else row[arm]["median"]
            for arm in (BEFORE, AFTER)
        ]
        change = f"{row['change']} {row['judgement']}".strip().replace("~", r"\~")
        p = row["p"].replace("<", "&lt;")
        lines.append(f"| {row['title']} | {' | '.join(cells)} | {change} | {p} |")
    return lines


def _predictions(comparison: Comparison) -> list[str]:
    rows = prediction_rows(comparison)
    if not rows:
        return []
    return [
        "| capacity model | predicted | measured | error |",
        "|---|--:|--:|--:|",
        *(
            f"| {markdown(row['name'])} | {row['predicted']} | {row['measured']} | {row['error']} |"
            for row in rows
        ),
        "",
    ]


def _hosts(comparison: Comparison) -> list[str]:
    rows = host_rows(comparison)
    if not rows:
        return []
    return [
        "| host | | before | after |",
        "|---|---|--:|--:|",
        *(f"| {row['role']} | {row['name']} | {row['before']} | {row['after']} |" for row in rows),
        "",
    ]


def render(experiment: Experiment, comparison: Comparison) -> str:
    """Return the Markdown."""
    _, sign, words = LABELS[comparison.verdict]
    told = ", ".join(f"{name.lower()} {value}" for name, value in facts(experiment, comparison))
    gates = [
        f"{'pass' if gate.passed else 'FAIL'}: {gate.arm}: {gate.expression} ({gate.value})"
        for gate in comparison.gates
    ]
    lines = [
        f"## {sign} {words}: {markdown(title(comparison))}",
        "",
        f"{markdown(comparison.sentence)}",
        "",
        *_list("Besides the tuning, this differs", comparison.differences),
        *_list("Missing", comparison.missing),
        *_list("Out of scope here", comparison.skipped),
        *_list("Gates", gates),
        *_metrics(comparison),
        "",
        "Medians over trials with their confidence intervals; \\~ is no detectable change. "
        f"{markdown(comparison.name)}: {markdown(told)}.",
        "",
        *_list("What broke, and what held", reasons(comparison)),
        *_list("Faults on purpose", comparison.faults),
        *_hosts(comparison),
        *_predictions(comparison),
        *_list("Warnings", comparison.warnings),
        *_list("Run again", comparison.repetitions),
    ]
    return "\n".join(lines).rstrip() + "\n"
