"""Reports that are no before/after: facts, a verdict, tables and plots, as one thing. Pure.

A sheet is written once and shown by peers: on a terminal, as Markdown, and as one offline page in
the style of the experiment's. Its plots are in the page; Markdown names the file beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup
from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from lab.report.html import environment
from lab.report.terminal import STYLES
from lab.report.view import Tone
from loadgen.foreign import markdown as escape
from loadgen.report.page.frame import style
from loadgen.report.plain import plain
from loadgen.summary import Record

LISTED: Final = "sheet.json"


class Listed(Record, frozen=True, kw_only=True):
    """`sheet.json`: a sheet's line in the list of reports."""

    name: str
    tone: Tone
    sign: str
    words: str
    sentence: str
    started_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text. The first column names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    """Columns that hold numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture: SVG, and the file that Markdown shows."""

    svg: str
    file: str
    says: str
    """What it shows, for those who cannot see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a sheet."""

    title: str
    about: str = ""
    plot: Plot | None = None
    table: Table | None = None
    lines: tuple[str, ...] = ()
    long: bool = False
    """Only for the page: a terminal and a comment have no room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A report."""

    title: str
    kind: str
    """What churnlab did, below its name: `measured capacity of tunings`."""
    tone: Tone
    sign: str
    words: str
    """The verdict in a few words."""
    sentence: str
    started_at: str
    """RFC 3339."""
    facts: tuple[tuple[str, str], ...] = ()
    sections: tuple[Section, ...] = ()

    def listed(self) -> Listed:
        """Return what the list of reports shows of it."""
        return Listed(
            name=self.title,
            tone=self.tone,
            sign=self.sign,
            words=self.words,
            sentence=self.sentence,
            started_at=self.started_at,
        )


# --- the terminal -------------------------------------------------------------------------------


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, title in enumerate(table.header):
        shown.add_column(
            Text(title), justify="right" if number in table.numbers else "left", overflow="fold"
        )
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown


def renderable(sheet: Sheet) -> RenderableType:
    """Return the sheet for rich to print. Text from outside is never read as markup."""
    style = STYLES[sheet.tone]
    parts: list[RenderableType] = []
    for section in sheet.sections:
        if section.long:
            continue
        parts.append(Text(section.title, style="bold"))
        if section.about:
            parts.append(Text(section.about, style="dim"))
        if section.table is not None:
            parts.append(_rich_table(section.table))
        parts += [Text(f"  {line}") for line in section.lines]
        if section.lines:
            parts.append(Text())
    panel = Panel(
        Text(sheet.sentence),
        title=Text(f"{sheet.sign} {sheet.words}", style=f"bold {style}"),
        title_align="left",
        border_style=style,
    )
    return Group(*parts, panel)


def text(sheet: Sheet, width: int = 100) -> str:
    """Return the sheet as plain text of `width` columns, for a pipe."""
    return plain(renderable(sheet), width)


# --- Markdown -----------------------------------------------------------------------------------


def _markdown_table(table: Table) -> list[str]:
    rule = ["--:" if number in table.numbers else "---" for number in range(len(table.header))]
    rows: Sequence[Sequence[str]] = (table.header, *table.rows)
    cells = [f"| {' | '.join(escape(cell) for cell in row)} |" for row in rows]
    return [cells[0], f"|{'|'.join(rule)}|", *cells[1:], ""]


def markdown(sheet: Sheet) -> str:
    """Return the sheet as Markdown."""
    lines = [f"## {sheet.sign} {escape(sheet.words)}: {escape(sheet.title)}", ""]
    lines += [escape(sheet.sentence), ""]
    lines += [f"- {escape(name)}: {escape(value)}" for name, value in sheet.facts]
    for section in sheet.sections:
        if section.long:
            continue
        lines += ["", f"### {escape(section.title)}", ""]
        if section.about:
            lines += [escape(section.about), ""]
        if section.plot is not None:
            lines += [f"![{escape(section.plot.says)}]({section.plot.file})", ""]
        if section.table is not None:
            lines += _markdown_table(section.table)
        lines += [f"- {escape(line)}" for line in section.lines]
    return "\n".join(lines).rstrip() + "\n"


# --- the page -----------------------------------------------------------------------------------


def page(sheet: Sheet) -> str:
    """Return the sheet as one offline HTML page."""
    plots = {
        section.title: Markup(section.plot.svg)  # noqa: S704 - ours; its texts are escaped there
        for section in sheet.sections
        if section.plot is not None
    }
    template = environment().get_template("sheet.html.j2")
    return template.render(
        sheet=sheet, plots=plots, style=style(), policy="", payload="", scripts=[]
    )
