"""A recording in words: what came near its limit, who used it, what happened and when. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from loadgen.foreign import harmless
from loadgen.metrics import CATALOGUE
from loadgen.report import numbers
from loadgen.target import endpoint
from loadgen.units import NOTHING, format_duration
from loadgen.watch.courses import Boiled, Course
from loadgen.watch.view import RATES
from loadgen.watch.words import amount, owner, rate, short_time, where

_FULLEST: Final = {"ephemeral_ports_in_use": "destination", "listen_queue": "listener"}
"""Of which a recording has the fullest one's course only."""
_LISTED: Final = 10


class Peak(msgspec.Struct, frozen=True):
    """How near a limit it came."""

    title: str
    value: str
    limit: str
    share: float | None
    when: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """All that the writers say of a recording."""

    title: str
    facts: list[tuple[str, str]]
    missing: list[str]
    happened: list[tuple[str, str, bool]]
    """When, what, and whether it began."""
    peaks: list[Peak]
    destinations: list[list[str]]
    owners: list[list[str]]
    rates: list[list[str]]


DESTINATIONS: Final = (
    "from", "toward", "most ports held", "of the pool", "most a second", "lives", "connect() then",
)  # fmt: skip
OWNERS: Final = ("process", "where", "most a second", "toward")
RATE_COLUMNS: Final = ("what", "most a second", "when")


def when(moment: float) -> str:
    """Return a time of day; UTC, to the second."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return NOTHING


def tell(found: Boiled) -> Told:
    """Return what there is to say of a recording."""
    head = found.head
    assert head is not None
    lasted = found.ended - found.began
    missing = [
        f"nothing was recorded from {when(start)} to {when(end)} ({format_duration(end - start)})"
        for start, end in found.gaps[:_LISTED]
    ]
    if len(found.gaps) > _LISTED:
        missing.append(f"{len(found.gaps) - _LISTED} more gaps")
    missing += [f"{name}: {reason}" for name, reason in head.absent.items() if name in _WANTED]
    return Told(
        title=f"{head.namespace} of {head.host}",
        facts=[
            ("Recorded", f"{when(found.began)} to {when(found.ended)} UTC"),
            ("For", format_duration(lasted)),
            ("Readings", f"{found.readings:,}"),
            ("Kernel", head.kernel),
        ],
        missing=missing,
        happened=[(when(item.time), item.text, item.began) for item in found.moments],
        peaks=_peaks(found),
        destinations=_destinations(found),
        owners=_owners(found),
        rates=_rates(found),
    )


_WANTED: Final = {
    "ephemeral_ports_in_use",
    "nf_conntrack_entries",
    "conntrack entries by destination",
}


def _peaks(found: Boiled) -> list[Peak]:
    peaks = []
    for metric in CATALOGUE.values():
        course, limit = found.courses.get(metric.name), found.courses.get(metric.limit)
        if not metric.title or course is None or course.peak is None:
            continue
        most = None if limit is None or limit.peak is None else limit.peak[0]
        value, moment = course.peak
        one = _FULLEST.get(metric.name, "")
        peaks.append(
            Peak(
                metric.title + (f", of the fullest {one}" if one else ""),
                amount(value),
                NOTHING if most is None else amount(most),
                value / most if most else None,
                when(moment),
            )
        )
    return sorted(peaks, key=lambda peak: -(peak.share or 0))


def _destinations(found: Boiled) -> list[list[str]]:
    order = sorted(found.destinations.values(), key=lambda pair: -pair[0].held)
    return [
        [
            full.source,
            endpoint(full.destination, full.port),
            amount(full.held),
            numbers.share(full.share),
            rate(fast.rate),
            short_time(fast.lifetime),
            short_time(full.connect),
        ]
        for full, fast in order[:_LISTED]
    ]


def _owners(found: Boiled) -> list[list[str]]:
    order = sorted(found.owners.values(), key=lambda line: -(line.rate or 0))
    return [
        [owner(line), where(line), rate(line.rate), ", ".join(line.destinations)]
        for line in order[:_LISTED]
    ]


def _rates(found: Boiled) -> list[list[str]]:
    rows = []
    for title, name, _ in RATES:
        course: Course | None = found.courses.get(name)
        if course is not None and course.peak is not None and course.peak[0] > 0:
            rows.append([title, rate(course.peak[0]), when(course.peak[1])])
    return rows


def text(told: Told, page: str) -> str:
    """Return the report for a terminal.

    Args:
        told: what there is to say.
        page: where the page is, in words.
    """
    lines = [told.title, *(f"  {name}: {value}" for name, value in told.facts), ""]
    lines += ["What happened" if told.happened else "Nothing worth reporting happened"]
    lines += [f"  {moment}  {words}" for moment, words, _ in told.happened[:50]]
    if len(told.happened) > 50:
        lines.append(f"  {len(told.happened) - 50} more; the page has all")
    lines += ["", "How near each limit came"]
    lines += [
        f"  {peak.title}: {peak.value} of {peak.limit}"
        + ("" if peak.share is None else f", {numbers.share(peak.share)}")
        + f", {peak.when}"
        for peak in told.peaks
        if peak.share is None or peak.share >= 0.001
    ]
    for title, columns, rows in (
        ("Destinations", DESTINATIONS, told.destinations),
        ("Who opened connections", OWNERS, told.owners),
        ("Happened most", RATE_COLUMNS, told.rates),
    ):
        if rows:
            lines += ["", title, *_aligned([list(columns), *rows])]
    lines += [f"  missing: {line}" for line in told.missing]
    return harmless("\n".join([*lines, "", f"page: {page}", ""]))


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
