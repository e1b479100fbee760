"""The moments that a page marks in its charts over time: losses, limits, faults, the end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loadgen.report.numbers import seconds
from loadgen.report.page.figures import Course, Marker

END = "E"
"""The sign of the schedule's end."""
_NEAR = 0.02
"""Share of the time axis within which moments of one course have one marker."""
_TAIL = 0.1
"""Seconds beyond the schedule's end from which on it is worth a marker."""

Moment = tuple[float, str]
"""Seconds, and what happened."""


def markers(courses: Sequence[Course], end: float) -> list[Marker]:
    """Return when the shown runs began to lose, reached a limit, or had something done to them.

    Args:
        courses: what the charts draw.
        end: where the time axis ends, in seconds.
    """
    found: list[Marker] = []
    for course in courses:
        for group in _grouped(sorted(_moments(course), key=lambda item: item[0]), end * _NEAR):
            whose = f"{course.name}, " if course.name else ""
            text = f"{whose}{_told(group)}"
            found.append(Marker(str(len(found) + 1), group[0][0], course.ink, text))
    due = _schedule_end(courses)
    if due is not None and due + _TAIL <= end:
        text = f"{seconds(due)}: the last arrival was due; later are only attempts under way"
        found.append(Marker(END, due, "limit", text))
    return found


def _grouped(moments: Sequence[Moment], near: float) -> Iterator[list[Moment]]:
    """Yield moments together that would lie upon each other in a chart."""
    group: list[Moment] = []
    for moment in moments:
        if group and moment[0] - group[0][0] > near:
            yield group
            group = []
        group.append(moment)
    if group:
        yield group


def _told(group: Sequence[Moment]) -> str:
    """Return what happened at one marker, each time said once."""
    parts: list[str] = []
    last = ""
    for moment, text in group:
        time = seconds(moment)
        parts.append(text if time == last else f"{time}: {text}")
        last = time
    return "; ".join(parts)


def _moments(course: Course) -> Iterator[Moment]:
    summary = course.summary
    if summary is not None:
        if summary.first_failure_at is not None:
            yield summary.first_failure_at, "first connection lost"
        for cause in summary.causes:
            if cause.first_at is not None:
                yield cause.first_at, cause.title
    yield from course.events


def _schedule_end(courses: Sequence[Course]) -> float | None:
    """Return when the last arrival was due, where that is the same in all courses."""
    durations = {course.summary.config.duration for course in courses if course.summary is not None}
    return durations.pop() if len(durations) == 1 else None
