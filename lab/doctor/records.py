"""The records of `lab doctor`, and their text. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

State = Literal["ok", "limited", "missing", "note"]
"""`limited`: works, but not as well as it could; `note`: neither good nor bad."""

_MARKS: Final[dict[State, str]] = {
    "ok": "ok",
    "limited": "LIMITED",
    "missing": "MISSING",
    "note": "",
}
_WIDTH: Final = 100


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    group: str
    name: str
    state: State
    found: str
    """What was found, for people."""
    remedy: str = ""
    """How to get what is missing; empty where nothing is."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What `lab doctor --json` writes."""

    schema: Literal["churnlab.doctor/1"] = "churnlab.doctor/1"
    kernel: str
    testbeds: dict[str, bool]
    """Whether `lab run --testbed NAME` can work here."""
    checks: list[Check]


def render(diagnosis: Diagnosis) -> str:
    """Return the table as text, at most 100 columns wide."""
    name_width = max((len(check.name) for check in diagnosis.checks), default=0)
    mark_width = max(map(len, _MARKS.values()))
    indent = 2 + mark_width + 2 + name_width + 2
    lines: list[str] = [f"Linux {diagnosis.kernel}"]
    group = ""
    for check in diagnosis.checks:
        if check.group != group:
            group = check.group
            lines += ["", group]
        head = f"  {_MARKS[check.state]:<{mark_width}}  {check.name:<{name_width}}  "
        lines += _wrapped(head, check.found, indent)
        if check.remedy:
            lines += _wrapped(" " * indent, f"→ {check.remedy}", indent + 2)
    usable = [name for name, works in diagnosis.testbeds.items() if works]
    lines += ["", f"lab run works here with: {_joined(usable)}"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _wrapped(head: str, body: str, indent: int) -> Iterable[str]:
    return textwrap.wrap(
        head + body,
        width=_WIDTH,
        subsequent_indent=" " * indent,
        drop_whitespace=True,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _joined(testbeds: list[str]) -> str:
    return " and ".join(f"--testbed {name}" for name in testbeds) or "no testbed"
