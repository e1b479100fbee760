"""Which charts a page has, and what is drawn in each. Pure: no HTML, no pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from loadgen.outcome import Outcome, described
from loadgen.report.numbers import count, sentence
from loadgen.report.page.figures import Course, Curve, Figure, Ink, Plates
from loadgen.report.page.marks import markers
from loadgen.report.page.series import (
    Reader,
    Values,
    counter_rate,
    curve,
    envelope,
    gauge,
    grid,
    held,
    latency_spans,
    per_call,
    percentiles,
    rate,
)
from loadgen.sample import ROLE_CLIENT, ROLE_HOST, ROLE_SERVER
from loadgen.units import format_duration

_WORTH_DRAWING: Final = 0.25
"""A limit is drawn when something comes to this share of it; else it is named beside the chart."""
_OUTCOME: Final = "generator_outcome_"
_PORTS: Final = "ephemeral_ports_in_use"
_CONNTRACK: Final = "nf_conntrack_entries"


def _lines(
    courses: Sequence[Course], readers: Sequence[tuple[str, Reader]], moments: Sequence[float]
) -> list[Curve]:
    """Return a line for each course and reader that has something to show."""
    lines = []
    for course in courses:
        for dash, (label, reader) in enumerate(readers):
            found = curve(reader, course.tracks, course.shown, moments)
            if found is not None:
                lines.append(_line(course, label, dash, found.values, found.low, found.high))
    return lines


def _line(
    course: Course,
    label: str,
    dash: int,
    values: list[float | None],
    low: list[float | None],
    high: list[float | None],
) -> Curve:
    several = len(course.tracks) > 1
    return Curve(
        course.label(label),
        course.ink,
        dash,
        values,
        low if several else [],
        high if several else [],
    )


def _top(lines: Sequence[Curve]) -> float:
    return max(
        (v for line in lines for v in (*line.high, *line.values) if v is not None), default=0
    )


def _limits(
    courses: Sequence[Course],
    role: str,
    metric: str,
    label: str,
    lines: list[Curve],
    x: list[float],
) -> list[str]:
    """Add the limit of each course to `lines`; return what to say where it is far off the scale.

    Where nothing but zeros would be drawn, the limit is what gives the chart a scale.
    """
    notes = []
    seen: dict[float, list[Course]] = {}
    for course in courses:
        track = course.readings.get((role, metric))
        if track is not None and track.values:
            seen.setdefault(track.values[-1], []).append(course)
    top = _top(lines)
    for dash, (limit, whose) in enumerate(seen.items()):
        alone = len(whose) == 1 and len(courses) > 1
        named = whose[0].label(label) if alone else label
        if not top or top >= _WORTH_DRAWING * limit:
            ink: Ink = whose[0].ink if alone else "limit"
            lines.append(Curve(named, ink, 3 + dash, [limit] * len(x)))
        else:
            notes.append(f"{sentence(named)}: {count(limit)}, far above this scale.")
    return notes


def _failing(courses: Sequence[Course]) -> list[str]:
    """Return the failing outcomes that occurred in any run, in the catalogue's order."""
    names = {
        metric.removeprefix(_OUTCOME)
        for course in courses
        for tracks in course.tracks
        for (_, metric), track in tracks.items()
        if metric.startswith(_OUTCOME) and track.values and track.values[-1] > 0
    }
    return [outcome.value for outcome in Outcome if outcome.value in names - {Outcome.OK.value}]


def _offered(course: Course, x: list[float]) -> Values | None:
    """Return how many arrivals a second were due.

    The schedule says so exactly. The generator's own count would not: a client that sits in
    connect() notices its arrivals late and in bursts. The closed loop has nothing but that count.
    """
    counted = counter_rate("generator_scheduled")(course.readings, x)
    if course.summary is None or counted is None:
        return counted
    config = course.summary.config
    try:
        law = None if config.closed_loop else config.law()
    except ValueError:  # a stored configuration may ask for what this version does not know
        law = None
    if law is None:
        return counted
    due = [law.due_by(config.warmup + moment) / config.shard[1] for moment in x]
    rates = rate(list(due), x)
    return [None if seen is None else row for seen, row in zip(counted, rates, strict=True)]


def _throughput(courses: Sequence[Course], x: list[float]) -> Figure:
    lines = _lines(courses, [("served", counter_rate("generator_ok"))], x)
    # What all courses were offered is the same by design and needs one line; where one was
    # interrupted, another's is the longer.
    offered = [(sum(v is None for v in row), row) for c in courses if (row := _offered(c, x))]
    if offered:
        lines.insert(0, Curve("offered", "limit", 1, min(offered, key=lambda row: row[0])[1]))
    return Figure(
        id="throughput",
        title="Connections offered and served",
        unit="connections per second",
        quantity="/s",
        about="Served: the request was answered and the connection closed. "
        "Where it runs below “offered”, connections are lost.",
        x=x,
        lines=lines,
    )


def _losses(courses: Sequence[Course], x: list[float]) -> Figure:
    readers = [("never started", counter_rate("generator_dropped"))]
    outcomes = _failing(courses)
    readers += [(name.replace("_", " "), counter_rate(_OUTCOME + name)) for name in outcomes]
    lines = [
        line
        for line in _lines(courses, readers, x)
        if line.label.endswith("never started") or _top([line]) > 0
    ]
    notes = [f"{name.replace('_', ' ')}: {described(name)}." for name in outcomes]
    return Figure(
        id="losses",
        title="Connections lost, by outcome",
        unit="connections per second",
        quantity="/s",
        about="Never started: the arrival was overdue and given up, as a user would have seen it.",
        x=x,
        lines=lines,
        notes=notes,
    )


def _connect_call(courses: Sequence[Course], x: list[float]) -> Figure:
    reader = per_call("generator_connect_call_seconds", "generator_connect_calls")
    return Figure(
        id="connect-call",
        title="Time inside one connect() call",
        unit="seconds, logarithmic",
        quantity="s",
        about="The kernel searches for a free local port inside connect(). "
        "When it has to search long, the client cannot open connections any faster.",
        log=True,
        x=x,
        lines=_lines(courses, [("mean", reader)], x),
    )


def _connect_latency(courses: Sequence[Course], x: list[float]) -> Figure:
    lines = []
    width = max(1.0, x[1] - x[0]) if len(x) > 1 else 1.0
    each = "second" if width == 1 else format_duration(width)
    for course in courses:
        spans = [latency_spans(rows, "connect", 0.99, width) for rows in course.intervals]
        if not spans or not spans[course.shown]:
            continue
        found = envelope(held(spans[course.shown], x), [held(row, x) for row in spans if row])
        lines.append(_line(course, "p99", 0, found.values, found.low, found.high))
    return Figure(
        id="connect-p99",
        title=f"Connect, 99th percentile of each {each}",
        unit="seconds, logarithmic",
        quantity="s",
        about="From the intended start to the finished handshake, of the connections that got so "
        "far. Steps at 1 and 3 s are the mark of a dropped SYN.",
        log=True,
        steps=True,
        x=x,
        lines=lines,
    )


def _port_readings(course: Course) -> dict[float, float]:
    """Return how many ports were in use at each moment at which they were counted.

    They are counted seldom, for it is costly, and once more at the first failure, for its snapshot.
    """
    track = course.readings.get((ROLE_CLIENT, _PORTS))
    found = dict(zip(track.times, track.values, strict=True)) if track is not None else {}
    for kept in course.summary.snapshots if course.summary is not None else ():
        for item in kept.essence:
            at, value = item.at, item.value
            counted = (item.metric, item.role) == (_PORTS, ROLE_CLIENT)
            if counted and at is not None and isinstance(value, int | float):
                found[at] = value
    return {round(t, 3): value for t, value in sorted(found.items())}


def _ports(courses: Sequence[Course], end: float) -> Figure:
    readings = [
        (course, {t: value for t, value in _port_readings(course).items() if 0 <= t <= end})
        for course in courses
    ]
    moments = {moment for _, found in readings for moment in found}
    x = sorted({0.0, *moments, end}) if moments else []
    lines = [
        Curve(course.label("in use"), course.ink, 0, [found.get(moment) for moment in x])
        for course, found in readings
        if found
    ]
    notes = _limits(courses, ROLE_CLIENT, "ephemeral_ports_limit", "ports in the range", lines, x)
    return Figure(
        id="ports",
        title="Local ports in use",
        unit="ports",
        quantity="1",
        about="On the client, toward the target that has most of them; TIME_WAIT included. Counting "
        "them is costly, so each dot is one reading and the line only joins the dots.",
        readings=True,
        x=x,
        lines=lines if moments else [],
        notes=notes,
    )


def _time_wait(courses: Sequence[Course], x: list[float]) -> Figure:
    readers = [(role, gauge(role, "sockstat_TCP_tw")) for role in (ROLE_CLIENT, ROLE_SERVER)]
    lines = _lines(courses, readers, x)
    notes = _limits(courses, ROLE_CLIENT, "sockstat_TCP_tw_limit", "tcp_max_tw_buckets", lines, x)
    return Figure(
        id="time-wait",
        title="Sockets in TIME_WAIT",
        unit="sockets",
        quantity="1",
        about="They stay for 60 s on the side that closed first, and hold their port meanwhile.",
        x=x,
        lines=lines,
        notes=notes,
    )


def _conntrack(courses: Sequence[Course], x: list[float]) -> Figure:
    roles = (ROLE_CLIENT, ROLE_SERVER, ROLE_HOST)
    lines = _lines(courses, [(role, gauge(role, _CONNTRACK)) for role in roles], x)
    quiet = bool(lines) and not _top(lines)
    notes: list[str] = []
    for role in roles:
        if any(line.label.endswith(role) for line in lines):
            # nf_conntrack_max is one value for the whole machine: drawing it once is enough.
            notes = _limits(courses, role, f"{_CONNTRACK}_limit", "nf_conntrack_max", lines, x)
            break
    if quiet:
        notes.append("It stayed empty: nothing was tracked.")
    return Figure(
        id="conntrack",
        title="Connections tracked by conntrack",
        unit="entries",
        quantity="1",
        about="Each namespace counts its own; at nf_conntrack_max new connections are dropped.",
        x=x,
        lines=lines,
        notes=notes,
    )


_TAGS: Final = (
    ("connect", "Connect", "Handshake finished."),
    ("tls", "TLS handshake", "Its own duration, from the connection on."),
    ("first_byte", "First byte", "First byte of the reply read."),
    ("total", "Whole request", "Reply read and connection closed."),
)


def _percentile(courses: Sequence[Course], tag: str, title: str, about: str) -> Figure:
    found: list[tuple[Course, dict[float, float]]] = []
    notes = []
    for course in courses:
        points = percentiles(
            interval.counts for rows in course.intervals for interval in rows if interval.tag == tag
        )
        if not points:
            continue
        found.append((course, dict(points)))
        measured = [summary for summary in course.summaries if summary is not None]
        lost = sum(summary.lost for summary in measured)
        if lost:
            due = sum(summary.scheduled for summary in measured)
            said = (
                f"{count(lost)} of {count(due)} arrivals were lost and have no latency; only the "
                "others are in this curve."
            )
            notes.append(course.label(said))
    x = sorted({point for _, points in found for point in points})
    together = " All trials together." if any(len(c.tracks) > 1 for c in courses) else ""
    return Figure(
        id=f"latency-{tag.replace('_', '-')}",
        title=f"{title}: latency by percentile",
        unit="seconds, logarithmic",
        quantity="s",
        about=f"{about} From the intended start.{together}",
        axis="percentile",
        log=True,
        x=x,
        lines=[
            Curve(course.name or "latency", course.ink, 0, [points.get(place) for place in x])
            for course, points in found
        ],
        notes=notes,
    )


_NEEDS: Final = {"conntrack": _CONNTRACK, "ports": _PORTS}
"""Charts that hang on one metric, whose absence has a reason of its own."""


def plates(courses: Sequence[Course], unread: Mapping[str, str]) -> Plates:
    """Return all charts.

    Args:
        courses: what to draw, as far as it was measured; one, or two to compare.
        unread: metrics that could not be read, as `role.metric`, with the reason.
    """
    longest = max(
        (track.times[-1] for course in courses for found in course.tracks for track in found.values()),
        default=0.0,
    )  # fmt: skip
    x = grid(longest)
    end = round(max(longest, x[-1]), 3)
    drawn: list[Figure] = []
    absent: list[str] = []
    if len(x) < 2:
        absent.append("The run was too short for charts over time.")
        return Plates(drawn, _latencies(courses, absent), [], absent, end)
    for figure in (
        _throughput(courses, x),
        _losses(courses, x),
        _connect_call(courses, x),
        _connect_latency(courses, x),
        _ports(courses, end),
        _time_wait(courses, x),
        _conntrack(courses, x),
    ):
        if figure.lines:
            drawn.append(figure)
        else:
            metric = _NEEDS.get(figure.id, "no metric")
            told = [why for name, why in unread.items() if name.endswith(f".{metric}")]
            reason = told[0] if told else "no samples of it"
            absent.append(f"{figure.title}: not drawn, {reason}.")
    return Plates(drawn, _latencies(courses, absent), markers(courses, end), absent, end)


def _latencies(courses: Sequence[Course], absent: list[str]) -> list[Figure]:
    """Return the charts by percentile; add to `absent` what has nothing to draw."""
    latency = []
    for tag, title, about in _TAGS:
        figure = _percentile(courses, tag, title, about)
        if figure.lines:
            latency.append(figure)
        else:
            absent.append(f"{figure.title}: not drawn, no latencies were stored.")
    return latency
