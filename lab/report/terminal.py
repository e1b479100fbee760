"""The comparison on a terminal: verdict, table, causes."""

from __future__ import annotations

import sys
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lab.analysis.records import Comparison
from lab.report.view import LABELS, host_rows, metric_rows, prediction_rows, reasons
from loadgen.foreign import Harmless
from loadgen.report.plain import plain

STYLES: Final = {
    "good": "green",
    "bad": "red",
    "warn": "yellow",
    "calm": "cyan",
    "mask": "magenta",
    "idle": "blue",
}
"""By tone: the colour on a terminal."""
_JUDGED: Final = {"better": "green", "worse": "red", "": ""}


def _estimate(cell: dict[str, str]) -> Text:
    found = Text(cell["median"])
    if cell["interval"]:
        found.append(f"\n{cell['interval']}", style="dim")
    return found


def _table(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for arm in comparison.arms:
        table.add_column(Text(f"{arm.name}\n{arm.tuning}"), justify="right")
    table.add_column("change", justify="right")
    table.add_column("p", justify="right")
    for row in metric_rows(comparison):
        table.add_row(
            row["title"],
            _estimate(row["before"]),
            _estimate(row["after"]),
            Text(f"{row['change']} {row['judgement']}".strip(), style=_JUDGED[row["judgement"]]),
            row["p"],
        )
    return table


_MOST: Final = 12
"""Lines of a list beyond which the rest is only counted: `sysctl -a` as a tuning has a thousand."""


def _lines(
    title: str, lines: list[str], style: str, *, most: int | None = None
) -> list[RenderableType]:
    if not lines:
        return []
    shown = lines[:most]
    if len(lines) > len(shown):
        shown = [*shown, f"and {len(lines) - len(shown):,} more, in comparison.json"]
    return [Text(title, style=f"bold {style}"), *(Text(f"  {line}") for line in shown), Text()]


def _predictions(comparison: Comparison) -> list[RenderableType]:
    rows = prediction_rows(comparison)
    if not rows:
        return []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("capacity model")
    for title in ("predicted", "measured", "error"):
        table.add_column(title, justify="right")
    for row in rows:
        wrong = "bold red" if row["state"] else ""
        table.add_row(
            Text(row["name"]), row["predicted"], row["measured"], Text(row["error"], style=wrong)
        )
    return [table]


def _hosts(comparison: Comparison) -> list[RenderableType]:
    rows = host_rows(comparison)
    if not rows:
        return []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("host")
    table.add_column("")
    for arm in comparison.arms:
        table.add_column(Text(arm.name), justify="right")
    last = ""
    for row in rows:
        shown = "" if row["role"] == last else row["role"]
        table.add_row(shown, row["name"], row["before"], row["after"])
        last = row["role"]
    return [table]


def renderable(comparison: Comparison) -> RenderableType:
    """Return the comparison for rich to print. Text from outside is never read as markup."""
    tone, sign, words = LABELS[comparison.verdict]
    style = STYLES[tone]
    gates = [
        f"{'pass' if gate.passed else 'FAIL'}  {gate.arm}  {gate.expression}  ({gate.value})"
        for gate in comparison.gates
    ]
    return Group(
        *_lines("Besides the tuning, this differs", comparison.differences, "red"),
        *_lines("Missing", comparison.missing, "yellow"),
        _table(comparison),
        *_lines("Out of scope here", comparison.skipped, "yellow", most=_MOST),
        *_lines("Gates", gates, ""),
        *_lines("What broke, and what held", reasons(comparison), ""),
        *_lines("Faults on purpose", comparison.faults, ""),
        *_hosts(comparison),
        *_predictions(comparison),
        *_lines("Warnings", comparison.warnings, "yellow"),
        *_lines("Run again", comparison.repetitions, "yellow"),
        Panel(
            Text(comparison.sentence),
            title=Text(f"{sign} {words}", style=f"bold {style}"),
            title_align="left",
            border_style=style,
        ),
    )


def render(comparison: Comparison, width: int = 100) -> str:
    """Return the comparison as plain text of `width` columns, for a pipe."""
    return plain(renderable(comparison), width)


def show(comparison: Comparison) -> None:
    """Print the comparison on stdout: in colour on a terminal, as plain text elsewhere."""
    if sys.stdout.isatty():
        Console().print(Harmless(renderable(comparison)))
    else:
        sys.stdout.write(render(comparison))
    sys.stdout.flush()
