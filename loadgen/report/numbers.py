"""Numbers and times as people read them. Every report formats with these, so that all agree.

`loadgen.units.format_duration` is for sentences; a column wants `seconds`, whose digits are as many
in each row. Pure.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from loadgen.units import NOTHING


def count(value: float) -> str:
    """Return a whole number with thousands marked, such as `14,116`."""
    return f"{round(value):,}"


def share(value: float | None) -> str:
    """Return a share, 0 to 1, as a percentage that says `0%` and `100%` only where exact."""
    if value is None:
        return NOTHING
    if value in {0, 1}:
        return f"{value:.0%}"
    percent = value * 100
    if percent < 1:
        return f"{percent:.2g}%" if percent >= 0.0001 else f"{percent:.0e}%"
    if percent > 99:
        rest = max(1e-6, float(f"{100 - percent:.1g}"))
        return f"{100 - rest:.{max(1, -math.floor(math.log10(rest)))}f}%"
    return f"{percent:.1f}%"


def significant(value: float, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits, no exponent, thousands marked."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    rounded = float(f"{value:.{digits}g}")
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, places)}f}"


def seconds(value: float) -> str:
    """Return a time in the unit that suits it: `340 µs`, `1.2 ms`, `3.06 s`."""
    size = abs(value)
    if size == 0:
        return "0 s"
    if size < 0.9995e-3:
        return f"{significant(value * 1e6)} µs"
    if size < 0.9995:
        return f"{significant(value * 1e3)} ms"
    return f"{significant(value)} s"


def quantity(value: float | None, unit: str) -> str:
    """Return a value in its unit. Units: `share`, `s`, `/s`, `1`."""
    if value is None:
        return NOTHING
    if unit == "share":
        return share(value)
    if unit == "s":
        return seconds(value)
    if unit == "/s":
        return f"{count(value)}/s" if abs(value) >= 100 or value == 0 else f"{significant(value)}/s"
    return count(value) if float(value).is_integer() or abs(value) >= 100 else significant(value)


def moment(value: str) -> str:
    """Return an RFC 3339 time as `2026-11-20 10:00 UTC`, or what it was if it is none."""
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return value
    if when.tzinfo is None:
        return f"{when:%Y-%m-%d %H:%M}"
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def plural(number: int, noun: str) -> str:
    """Return `1 trial`, `5 trials`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def sentence(text: str) -> str:
    """Return `text` with its first letter as a sentence begins, unless that would change a name."""
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first.isalpha() else text
