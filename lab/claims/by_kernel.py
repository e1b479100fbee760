"""Claims on several kernels, as one table: where verdicts differ, and what made the difference. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lab.analysis import text
from lab.claims import render
from lab.claims.catalogue import BY_NAME
from lab.claims.claim import Claim
from lab.claims.expected import KernelChange, Platform
from lab.claims.records import ByKernel, Claims, Result
from loadgen.foreign import harmless
from loadgen.foreign import markdown as escape
from loadgen.report.plain import plain
from loadgen.summary import emulated, encode

_MEMORY_MATTERS: Final = ("conntrack-default-sizes", "conntrack-eightfold")
_GIB: Final = 4.0
"""What the kernel's own sizes hang on is whether there is more than this."""


def ordered(found: Iterable[Claims]) -> ByKernel:
    """Return the results of several kernels, oldest kernel first."""
    return ByKernel(kernels=sorted(found, key=lambda claims: _place(claims).version))


def _place(claims: Claims) -> Platform:
    return Platform.of(claims.environment, claims.kernel)


def _short(claims: Claims) -> str:
    version = _place(claims).version
    return f"{version[0]}.{version[1]}"


def _row(found: ByKernel, name: str) -> list[Result | None]:
    """Return a claim's result on each kernel; None where it was not decided."""
    return [
        next((result for result in claims.claims if result.name == name), None)
        for claims in found.kernels
    ]


def _names(found: ByKernel) -> list[str]:
    seen = dict.fromkeys(result.name for claims in found.kernels for result in claims.claims)
    known = [name for name in BY_NAME if name in seen]
    return known + [name for name in seen if name not in BY_NAME]


def changes_between(name: str, older: Platform, newer: Platform) -> list[KernelChange]:
    """Return what changed about a claim after one kernel and up to another."""
    entry = BY_NAME.get(name)
    if not isinstance(entry, Claim):
        return []
    return [change for change in entry.changes if older.version < change.since <= newer.version]


def _why(name: str, older: Claims, newer: Claims, before: Result, after: Result) -> str:
    """Return what made two neighbours' verdicts differ."""
    old, new = _place(older), _place(newer)
    reasons = [str(change) for change in changes_between(name, old, new)]
    if name in _MEMORY_MATTERS and (old.memory > _GIB) != (new.memory > _GIB):
        reasons.append(
            f"the kernel sizes the table by memory, and {_short(older)} ran with {old.memory:.1f} "
            f"GiB, {_short(newer)} with {new.memory:.1f}"
        )
    for claims, result in ((older, before), (newer, after)):
        if result.verdict == "untestable_here":
            reasons.append(f"{_short(claims)}: {result.reading}")
    return "; ".join(reasons) or "no change of the kernel is known that explains this"


def differences(found: ByKernel) -> list[str]:
    """Return a sentence for each cell that differs from its neighbour."""
    sentences = []
    for name in _names(found):
        cells = [
            (claims, result)
            for claims, result in zip(found.kernels, _row(found, name), strict=True)
            if result is not None
        ]
        for (older, before), (newer, after) in pairwise(cells):
            if before.verdict != after.verdict:
                sentences.append(
                    f"{name}: {render.WORDS[before.verdict]} on {_short(older)}, "
                    f"{render.WORDS[after.verdict]} on {_short(newer)}: "
                    f"{_why(name, older, newer, before, after)}"
                )
    return sentences


def measured_changes(found: ByKernel) -> list[str]:
    """Return what else changed between these kernels, with the figures, where verdicts agree."""
    sentences = []
    for name in _names(found):
        cells = [
            (claims, result)
            for claims, result in zip(found.kernels, _row(found, name), strict=True)
            if result is not None and result.figure
        ]
        for (older, before), (newer, after) in pairwise(cells):
            changes = changes_between(name, _place(older), _place(newer))
            if changes and before.verdict == after.verdict:
                sentences.append(
                    f"{name}: {before.figure} on {_short(older)}, {after.figure} on "
                    f"{_short(newer)}: {'; '.join(map(str, changes))}"
                )
    return sentences


def surprises(found: ByKernel) -> list[str]:
    """Return a sentence for each verdict that is not what the sources predict."""
    return [
        f"{result.name} on {_short(claims)}: {render.WORDS[result.verdict]}, where documentation "
        f"and sources predict {render.WORDS[result.paper]}"
        for claims in found.kernels
        for result in claims.claims
        if result.surprising
    ]


def failures(found: ByKernel) -> list[str]:
    """Return a sentence for each experiment that went wrong."""
    return [
        f"{result.name} on {_short(claims)}: {result.reading}"
        for claims in found.kernels
        for result in claims.claims
        if result.failed
    ]


def json(found: ByKernel) -> str:
    """Return the results as indented JSON."""
    return encode(found).decode()


# --- the terminal -------------------------------------------------------------------------------


def renderable(found: ByKernel) -> RenderableType:
    """Return the table for rich to print. Nothing in it is read as markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("the article says", ratio=2, overflow="fold")
    for claims in found.kernels:
        table.add_column(Text(_short(claims)), ratio=1, overflow="fold")
    for name in _names(found):
        row = _row(found, name)
        says = Text(next(result.says for result in row if result is not None))
        says.append(f"\n{name}", style="dim")
        cells = []
        for result in row:
            cell = Text(text.NOTHING if result is None else render.WORDS[result.verdict])
            if result is not None:
                cell.stylize(render.STYLES[result.verdict])
                cell.append(f"\n{result.figure}", style="dim")
            cells.append(cell)
        table.add_row(says, *cells)
    return table


def terminal(found: ByKernel, *, width: int = 100) -> str:
    """Return the table and what it comes to as plain text."""
    return plain(renderable(found), width) + "".join(
        f"{harmless(line)}\n" for line in ending(found)
    )


def ending(found: ByKernel) -> list[str]:
    """Return the lines under the table."""
    return [
        *(f"{render.place(claims)}: {render.tally(claims)}" for claims in found.kernels),
        *(f"differs: {line}" for line in differences(found)),
        *(f"unexpected: {line}" for line in surprises(found)),
        *(f"failed: {line}" for line in failures(found)),
    ]


# --- Markdown -----------------------------------------------------------------------------------


def markdown(found: ByKernel) -> str:
    """Return the results as a page: the table, the differences, then the newest in detail.

    The details are of the machine that is no guest, if there is one: its times are the kernel's.
    """
    own = next((c for c in found.kernels if not c.environment.guest), found.kernels[-1])
    lines = [
        "# The article on trial",
        "",
        "Written by `lab claims`; each verdict is from a run. Try your own kernel: `lab claims` on "
        "the machine that runs it, or `lab claims --kernel debian:6.1 --kernel here`.",
        "",
        "| kernel | processors | memory | verdicts | when |",
        "|---|---|--:|---|---|",
        *(_machine(claims) for claims in found.kernels),
        "",
        "| | the article says | " + " | ".join(_short(claims) for claims in found.kernels) + " |",
        "|--:|---|" + "---|" * len(found.kernels),
        *(_table_row(found, name) for name in _names(found)),
        "",
        *_listed("Where kernels differ", differences(found), "No verdict differs."),
        *_listed("What else changed", measured_changes(found), ""),
        *_listed(
            "Verdicts that documentation and sources do not predict",
            surprises(found),
            "None: each verdict is what they predict for that kernel and that memory.",
        ),
        *_listed("Experiments that went wrong", failures(found), ""),
        f"## Each claim, on Linux {escape(own.kernel)}",
        "",
        *(line for result in own.claims for line in render.section(result)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _machine(claims: Claims) -> str:
    about = claims.environment
    processors = str(about.cpus or text.NOTHING)
    if emulated(about):
        processors += ", emulated: counts hold, times do not"
    return (
        f"| {escape(claims.kernel)} | {processors} | {_place(claims).memory:.1f} GiB | "
        f"{render.tally(claims)}{'' if claims.finished else ' (interrupted)'} | "
        f"{escape(text.moment(claims.started_at))} |"
    )


def _table_row(found: ByKernel, name: str) -> str:
    row = _row(found, name)
    known = next(result for result in row if result is not None)
    cells: Sequence[str] = [
        text.NOTHING
        if result is None
        else " · ".join(filter(None, (render.WORDS[result.verdict], escape(result.figure))))
        for result in row
    ]
    return f"| {known.row} | {escape(known.says)} | {' | '.join(cells)} |"


def _listed(title: str, lines: Sequence[str], otherwise: str) -> list[str]:
    if not lines and not otherwise:
        return []
    told = [f"- {escape(line)}" for line in lines] or [otherwise]
    return [f"## {title}", "", *told, ""]
