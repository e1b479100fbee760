"""The page of a recording: courses over hours or days, and what happened in them. Pure."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

from loadgen.report.numbers import count
from loadgen.report.page import frame
from loadgen.report.page.figures import Curve, Figure, Ink, Marker, Plates
from loadgen.report.recording import DESTINATIONS, OWNERS, RATE_COLUMNS, Told
from loadgen.watch.courses import Boiled, Course
from loadgen.watch.view import RATES

_MARKERS: Final = 20
"""More would hide the curves; the list has all."""
_WORTH_DRAWING: Final = 0.25
_JOINED: Final = 20.0
"""Seconds between two readings up to which a curve goes on; beyond, it is broken."""
_GAUGES: Final = (
    ("ports", "Local ports in use", "ports", "ephemeral_ports_in_use", "ephemeral_ports_limit",
     "Toward the destination that has most of them; TIME_WAIT included. Beyond half of the range "
     "each connect() searches long, at the end of it connect() fails."),
    ("time-wait", "Sockets in TIME_WAIT", "sockets", "sockstat_TCP_tw", "sockstat_TCP_tw_limit",
     "They stay for 60 s on the side that closed first, and hold their port meanwhile."),
    ("conntrack", "Connections tracked by conntrack", "entries", "nf_conntrack_entries",
     "nf_conntrack_entries_limit", "At the limit new connections are dropped."),
    ("queue", "Accept queue", "connections", "listen_queue", "listen_queue_limit",
     "Of the listener that was nearest to its limit; beyond it SYNs are dropped."),
)  # fmt: skip
_OPENED: Final = (
    ("opened", "netstat_Tcp_ActiveOpens"),
    ("accepted", "netstat_Tcp_PassiveOpens"),
)


def _line(
    course: Course, label: str, x: list[float], begin: float, *, ink: Ink = "second", dash: int = 0
) -> Curve:
    points = course.points()
    found: list[float | None] = [None] * len(x)
    low, high = list(found), list(found)
    if not points:
        return Curve(label, ink, dash, found, low, high)
    step = x[1] - x[0] if len(x) > 1 else 1.0
    stretches: dict[int, list[tuple[float, float, float]]] = {}
    for t, *values in points:
        place = min(len(x) - 1, max(0, int((t - begin) / step)))
        stretches.setdefault(place, []).append((values[0], values[1], values[2]))
    for place, several in stretches.items():
        found[place] = sum(mean for mean, *_ in several) / len(several)
        low[place] = min(least for _, least, _ in several)
        high[place] = max(most for *_, most in several)
    for row in (found, low, high):
        _joined(row, math.ceil(_JOINED / step))
    return Curve(label, ink, dash, found, low, high)


def _joined(row: list[float | None], most: int) -> None:
    """Fill what lies between two readings with the straight line, where it is not much.

    Sockets are counted when the last count has been paid for, not at every reading.
    """
    known = [place for place, value in enumerate(row) if value is not None]
    for left, right in pairwise(known):
        first, last = row[left], row[right]
        assert first is not None
        assert last is not None
        if right - left <= most:
            for place in range(left + 1, right):
                row[place] = first + (last - first) * (place - left) / (right - left)


def _grid(found: Boiled) -> list[float]:
    """Return moments, in seconds from the beginning, as far apart as the widest course's."""
    width = max((course.width for course in found.courses.values()), default=1.0)
    lasted = max(found.ended - found.began, width)
    return [round(n * width, 3) for n in range(int(lasted / width) + 2)]


def plates(found: Boiled) -> Plates:
    """Return the charts of a recording."""
    x = _grid(found)
    drawn: list[Figure] = []
    absent: list[str] = []
    lines = [
        _line(course, label, x, found.began, dash=dash)
        for dash, (label, name) in enumerate(_OPENED)
        if (course := found.courses.get(name)) is not None
    ]
    drawn.append(
        Figure(
            id="opened",
            title="Connections opened and accepted",
            unit="connections per second",
            quantity="/s",
            about="As the kernel counts them, of the whole namespace. The band is from the least to "
            "the greatest reading.",
            x=x,
            lines=lines,
        )
    )
    for figure_id, title, unit, name, limit, about in _GAUGES:
        course = found.courses.get(name)
        if course is None or course.peak is None:
            absent.append(f"{title}: not drawn, it was never read.")
            continue
        lines, notes = [_line(course, "in use", x, found.began)], []
        most = found.courses.get(limit)
        if most is not None and most.peak is not None:
            if course.peak[0] >= _WORTH_DRAWING * most.peak[0]:
                lines.append(Curve("limit", "limit", 3, [most.peak[0]] * len(x)))
            else:
                notes.append(f"The limit, {count(most.peak[0])}, is far above this scale.")
        drawn.append(
            Figure(id=figure_id, title=title, unit=unit, quantity="1", about=about, x=x, lines=lines, notes=notes)
        )  # fmt: skip
    failures = [
        (title, course)
        for title, name, bad in RATES
        if bad
        and (course := found.courses.get(name)) is not None
        and course.peak
        and course.peak[0] > 0
    ]
    if failures:
        drawn.append(
            Figure(
                id="failures",
                title="Failures and drops",
                unit="per second",
                quantity="/s",
                about="Counters of the kernel that should stand still.",
                x=x,
                lines=[
                    _line(
                        course,
                        title,
                        x,
                        found.began,
                        ink="first" if n % 2 else "second",
                        dash=n // 2 % 4,
                    )
                    for n, (title, course) in enumerate(failures[:8])
                ],
            )
        )
    markers = [
        Marker(
            str(number + 1), max(0.0, round(moment.time - found.began, 3)), "second", moment.text
        )
        for number, moment in enumerate(item for item in found.moments if item.began)
    ][:_MARKERS]
    return Plates(drawn, [], markers, absent, max(x[-1], 0.001))


def render(found: Boiled, told: Told) -> str:
    """Return the page as HTML."""
    assert found.head is not None
    return (
        frame.environment()
        .get_template("recording.html.j2")
        .render(
            told=told,
            destination_columns=DESTINATIONS,
            owner_columns=OWNERS,
            rate_columns=RATE_COLUMNS,
            sysctls=sorted(found.head.sysctls.items()),
            absent_metrics=sorted(found.head.absent.items()),
            **frame.drawing(plates(found)),
        )
    )
