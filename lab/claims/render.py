"""The results of `lab claims` as a table, as JSON and as Markdown: peers, one record in, one text out."""

from __future__ import annotations

from collections import Counter
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.analysis import text
from lab.claims.behind_nat import BEHIND_NAT
from lab.claims.records import Claims, Result, Verdict
from loadgen.foreign import markdown as escape
from loadgen.report.plain import plain
from loadgen.summary import encode

WORDS: Final[dict[Verdict, str]] = {
    "confirmed": "confirmed",
    "refuted": "refuted",
    "conditional": "conditional",
    "untestable_here": "untestable here",
}
STYLES: Final[dict[Verdict, str]] = {
    "confirmed": "green",
    "refuted": "red",
    "conditional": "yellow",
    "untestable_here": "dim",
}
_INDENT: Final = (0, 0, 0, 2)
_OUTSIDE: Final = "not in the article, but often given with it"


def json(claims: Claims) -> str:
    """Return the results as indented JSON."""
    return encode(claims).decode()


def tally(claims: Claims) -> str:
    """Return how many claims got each verdict: `12 confirmed, 9 refuted, …`."""
    counts = Counter(result.verdict for result in claims.claims)
    return ", ".join(
        f"{counts[verdict]} {word}" for verdict, word in WORDS.items() if counts[verdict]
    )


def place(claims: Claims) -> str:
    """Return kernel, processors and memory."""
    about = claims.environment
    machine = [f"Linux {text.kernel(about)}" if about.kernel else f"Linux {claims.kernel}"]
    if about.architecture:
        machine.append(about.architecture)
    if about.cpus:
        machine.append(text.plural(about.cpus, "CPU"))
    if about.memory_kib:
        machine.append(f"{about.memory_kib / (1 << 20):.1f} GiB")
    return ", ".join(machine)


def _surprises(claims: Claims) -> list[Result]:
    return [result for result in claims.claims if result.surprising]


# --- the terminal -------------------------------------------------------------------------------


def _row(result: Result) -> tuple[Text, Text, Text]:
    says = Text(result.says)
    says.append(f"\n{result.name}", style="dim")
    verdict = Text(WORDS[result.verdict], style=STYLES[result.verdict])
    measured = Text(result.figure or result.reading)
    if result.condition:
        measured.append(f"\nholds: {result.condition}", style="yellow")
    return says, verdict, measured


def _details(result: Result) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(result.name, style="bold")]
    told = (
        ("article", result.quote or _OUTSIDE),
        ("reading", result.reading),
        ("do", result.instead),
        ("behind a NAT", BEHIND_NAT.get(result.name, "")),
    )
    parts += [Padding(Text(f"{label}: {words}"), _INDENT) for label, words in told if words]
    parts += [Padding(Text(f"- {line}", style="dim"), _INDENT) for line in result.evidence]
    return [*parts, Text()]


def renderable(claims: Claims, *, details: bool = False) -> RenderableType:
    """Return the results for rich to print. Nothing in them is read as markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("the article says", ratio=4, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("measured here", ratio=4, overflow="fold")
    for result in claims.claims:
        table.add_row(*_row(result))
    ending = [Text(f"{tally(claims)} on {place(claims)}, in {claims.seconds:.0f} s")]
    if not claims.finished:
        ending.append(Text("interrupted: these are the claims that were decided", style="yellow"))
    ending += [
        Text(
            f"{result.name}: {WORDS[result.verdict]}, where documentation and sources predict "
            f"{WORDS[result.paper]} for this kernel",
            style="yellow",
        )
        for result in _surprises(claims)
    ]
    changed = sum(result.name in BEHIND_NAT for result in claims.claims)
    if changed:
        ending.append(
            Text(f"behind a NAT {changed} of these read differently: --details says how", "dim")
        )
    more = [part for result in claims.claims for part in _details(result)] if details else []
    return Group(table, *more, *ending)


def terminal(claims: Claims, *, details: bool = False, width: int = 100) -> str:
    """Return the results as plain text of `width` columns, for a pipe."""
    return plain(renderable(claims, details=details), width)


# --- Markdown -----------------------------------------------------------------------------------


def section(result: Result) -> list[str]:
    """Return everything about one claim, as a section of a page."""
    verdict = WORDS[result.verdict]
    if result.condition:
        verdict += f": {result.condition}"
    quote = f"> {escape(result.quote)}" if result.quote else f"*{_OUTSIDE}*"
    lines = [f"### {result.row}. {escape(result.says)}", "", f"`{result.name}`", "", quote, ""]
    lines += [f"**{escape(_sentence(verdict))}** {escape(_sentence(result.reading))}", ""]
    if result.metric:
        lines.append(f"- measured: {escape(result.metric)}")
        lines.append(f"- expected: {escape(result.expected)}")
    if result.figure:
        lines.append(f"- found: {escape(result.figure)}")
    if result.instead:
        lines.append(f"- do: {escape(result.instead)}")
    if result.name in BEHIND_NAT:
        lines.append(f"- behind a NAT: {escape(BEHIND_NAT[result.name])}")
    lines += [f"- {escape(line)}" for line in result.evidence]
    if result.sources:
        lines.append(f"- sources: {escape('; '.join(result.sources))}")
    return [*lines, ""]


def _sentence(words: str) -> str:
    whole = words[:1].upper() + words[1:]
    return whole if whole.endswith(".") else f"{whole}."


def _agreement(claims: Claims) -> list[str]:
    surprises = _surprises(claims)
    if not surprises:
        return ["Each verdict is what documentation and sources predict for this kernel."]
    return [
        "Not what documentation and sources predict for this kernel:",
        "",
        *(
            f"- `{result.name}`: {WORDS[result.verdict]} instead of {WORDS[result.paper]}"
            for result in surprises
        ),
    ]


def markdown(claims: Claims) -> str:
    """Return the results as a page."""
    lines = [
        "# The article on trial",
        "",
        "Written by `lab claims --out docs`; the figures are of that run and of that machine. "
        "Run it on yours: settings and defaults differ from kernel to kernel.",
        "",
        f"**{escape(place(claims))}**, {escape(text.moment(claims.started_at))}: "
        f"{tally(claims)}, in {claims.seconds:.0f} s.",
        "",
        *(
            ["**Interrupted:** only the claims that were decided.", ""]
            if not claims.finished
            else []
        ),
        *_agreement(claims),
        "",
        "| | the article says | verdict | expected | found here |",
        "|--:|---|---|---|---|",
        *(
            f"| {result.row} | {escape(result.says)} | {WORDS[result.verdict]} | "
            f"{escape(result.expected or text.NOTHING)} | "
            f"{escape(result.figure or text.NOTHING)} |"
            for result in claims.claims
        ),
        "",
        "## Each claim",
        "",
        *(line for result in claims.claims for line in section(result)),
    ]
    return "\n".join(lines).rstrip() + "\n"
