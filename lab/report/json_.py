"""`comparison.json`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lab.analysis.records import Comparison

_WIDTH: Final = 110
"""Columns within which an object stays on one line."""


def render(comparison: Comparison) -> str:
    """Return the comparison as JSON, indented but for what fits on a line.

    A comparison repeats every kernel metric of every trial. Written one number a line that is
    fifteen thousand lines, in which nobody finds anything.
    """
    return _pretty(msgspec.to_builtins(comparison), "") + "\n"


def _pretty(value: Any, indent: str) -> str:
    flat = msgspec.json.encode(value).decode()
    if not isinstance(value, dict | list) or len(flat) + len(indent) <= _WIDTH:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        items = [
            f"{msgspec.json.encode(k).decode()}: {_pretty(v, deeper)}" for k, v in value.items()
        ]
        ends = "{}"
    else:
        items = [_pretty(item, deeper) for item in value]
        ends = "[]"
    inside = f",\n{deeper}".join(items)
    return f"{ends[0]}\n{deeper}{inside}\n{indent}{ends[1]}"
