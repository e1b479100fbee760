r"""Durations and bytes as people write them: `60s`, `250ms`, `2m`; `PING\r\n`; and what numbers can be.

The bounded types are those of the fields of records that are read from files: msgspec refuses what
lies outside, with the field's name. They are wide enough for every machine, and narrow enough that
sums and quotients of what passes stay finite.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final

from msgspec import Meta

# Divisors, so that 200us is the float nearest to 0.0002: 1/1e6 can be had exactly, 1e-6 cannot.
_PER_SECOND = {"us": 1e6, "µs": 1e6, "ms": 1e3, "s": 1.0, "m": 1 / 60, "h": 1 / 3600}
LONGEST: Final = 366 * 86400.0
"""Seconds of the longest duration that anybody may ask for: more is a slip, and beyond what clocks
and their callers hold."""
_MOST: Final = 2**53
"""Up to which every integer is a float, too."""
Count = Annotated[int, Meta(ge=0, le=_MOST)]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST)]
Moment = Annotated[float, Meta(ge=-LONGEST, le=LONGEST)]
"""Seconds since a run's start; negative before it."""
Real = Annotated[float, Meta(ge=-1e18, le=1e18)]
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|µs|ms|s|m|h)?")


def parse_duration(text: str) -> float:
    """Return the seconds that `text` names; a bare number is seconds.

    Several parts add up, largest first or not: `1m30s`. The sum is at most `LONGEST`.

    Raises:
        ValueError: when `text` is not a duration, with the accepted forms, or one that is too long.
    """
    stripped = text.strip()
    position = 0
    total = 0.0
    while position < len(stripped):
        match = _DURATION.match(stripped, position)
        if match is None:
            break
        number, unit = match.groups()
        if unit is None and (position or match.end() != len(stripped)):
            break
        total += float(number) / _PER_SECOND[unit or "s"]
        position = match.end()
    if not stripped or position != len(stripped):
        raise ValueError(f"{text!r} is not a duration: write 250ms, 5s, 1m30s or plain seconds")
    if not total <= LONGEST:
        raise ValueError(f"{shortened(text)} is too long: at most {format_duration(LONGEST)}")
    return total


def whole(text: str, digits: int = 9) -> int | None:
    """Return the number that up to so many ASCII digits write; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


def shortened(text: str, most: int = 40) -> str:
    """Return a text as a message shows it: quoted, on one line, and cut where it is endless."""
    return repr(text if len(text) <= most else f"{text[:most]}…")


NOTHING: Final = "–"
"""Stands where there is no value; never a zero."""


def spaced(text: str) -> str:
    r"""Return a text with its words parted by single blanks: on one line, and as values are kept.

    The kernel prints a sysctl with tabs and a line feed (`5000\t65000\n`); a file may have any blanks.
    """
    return " ".join(text.split())


def exact(value: float) -> str:
    """Return the shortest decimal number, without an exponent, that reads back as `value`."""
    return f"{Decimal(repr(value)):f}".removesuffix(".0")


def format_duration(seconds: float) -> str:
    """Return `seconds` with three significant digits in the unit a reader expects."""
    magnitude = abs(seconds)
    if magnitude == 0:
        return "0 s"
    # 999.5 of a unit would round to four digits, which `g` writes as 1e+03.
    if magnitude < 0.9995e-3:
        return f"{seconds * 1e6:.3g} µs"
    if magnitude < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if magnitude < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min"


_ESCAPES = {"r": 13, "n": 10, "t": 9, "0": 0, "\\": 92}
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)


def parse_bytes(text: str) -> bytes:
    r"""Return the bytes that `text` names: UTF-8, with \r, \n, \t, \0, \xHH and \\.

    Raises:
        ValueError: for a backslash before anything else.
    """

    def one(found: re.Match[bytes]) -> bytes:
        word = found[1].decode(errors="replace")
        if word.startswith("x") and len(word) == 3:
            return bytes([int(word[1:], 16)])
        if word not in _ESCAPES:
            raise ValueError(
                f"{text[:80]!r}: after a backslash comes r, n, t, 0, xHH or another backslash"
            )
        return bytes([_ESCAPES[word]])

    return _ESCAPE.sub(one, text.encode(errors="surrogateescape"))


def format_size(number: int) -> str:
    """Return a number of bytes in the unit a reader expects, powers of 1,024."""
    size, unit = float(number), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1023.5:
            break
        size, unit = size / 1024, larger
    return f"{size:.3g} {unit}" if size < 999.5 else f"{size:.0f} {unit}"


def format_bytes(data: bytes) -> str:
    """Return printable ASCII that `parse_bytes` reads back as `data`."""
    words = {13: r"\r", 10: r"\n", 9: r"\t", 92: r"\\"}
    return "".join(
        words.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in data
    )
