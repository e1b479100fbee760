"""Which charts the page has, and what is drawn in each. Pure: no HTML, no pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from lab.report.series import (
    POINTS,
    Reader,
    Tracks,
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
)
from lab.text import count, quantity, seconds
from loadgen.outcome import DESCRIPTIONS, Outcome
from loadgen.rundir import Interval
from loadgen.sample import ROLE_CLIENT, ROLE_HOST, ROLE_SERVER
from loadgen.summary import Summary

Axis = Literal["time", "percentile"]
_WORTH_DRAWING: Final = 0.05
"""A limit is drawn when something comes to this share of it; else it is named beside the chart."""
_OUTCOME: Final = "generator_outcome_"


class ArmData(msgspec.Struct, frozen=True):
    """What the charts draw of one arm: its trials, and which of them stands for it."""

    name: str
    tuning: str
    labels: list[str]
    """Of the trials: `trial 3`."""
    summaries: list[Summary | None]
    tracks: list[Tracks]
    intervals: list[list[Interval]]
    shown: int
    """The trial whose course is the line: the middle one by lost share."""


class Line(msgspec.Struct, frozen=True):
    """One series of a chart."""

    label: str
    arm: str
    """`before`, `after`, or `limit` for what belongs to neither."""
    dash: int
    """0 is solid; others tell series of the same arm apart."""
    values: Values
    low: Values = []
    high: Values = []


class Marker(msgspec.Struct, frozen=True):
    """A moment worth a vertical line."""

    key: str
    """The short sign in the chart."""
    t: float
    arm: str
    text: str


class Figure(msgspec.Struct, frozen=True):
    """One chart with all that its reader needs."""

    id: str
    title: str
    unit: str
    """As printed at the axis."""
    quantity: str
    """The unit for `lab.text.quantity`."""
    about: str
    axis: Axis
    log: bool
    steps: bool
    """A value holds from the point before it on, rather than at its own point alone."""
    x: list[float]
    lines: list[Line]
    notes: list[str]


class Plates(msgspec.Struct, frozen=True):
    """All charts of the page."""

    time: list[Figure]
    percentile: list[Figure]
    markers: list[Marker]
    absent: list[str]
    """One line for each chart that has nothing to draw, with the reason."""


def middle_trial(summaries: Sequence[Summary | None]) -> int:
    """Return the index of the trial in the middle by lost share, those that count first."""

    def lost(index: int) -> float:
        summary = summaries[index]
        assert summary is not None
        return (summary.failed + summary.dropped) / max(1, summary.scheduled)

    valid = [i for i, s in enumerate(summaries) if s is not None and s.validity == "valid"]
    known = valid or [i for i, s in enumerate(summaries) if s is not None]
    return sorted(known, key=lost)[(len(known) - 1) // 2] if known else 0


def _lines(
    arms: Sequence[ArmData], readers: Sequence[tuple[str, Reader]], moments: Sequence[float]
) -> list[Line]:
    """Return a line for each arm and reader that has something to show."""
    lines = []
    for arm in arms:
        for dash, (label, reader) in enumerate(readers):
            found = curve(reader, arm.tracks, arm.shown, moments)
            if found is not None:
                name = f"{arm.name}{': ' if label else ''}{label}"
                lines.append(Line(name, arm.name, dash, found.values, found.low, found.high))
    return lines


def _top(lines: Sequence[Line]) -> float:
    return max(
        (v for line in lines for v in (*line.high, *line.values) if v is not None), default=0
    )


def _limits(
    arms: Sequence[ArmData], role: str, metric: str, label: str, lines: list[Line], x: list[float]
) -> list[str]:
    """Add the limit of each arm to `lines`; return what to say where it is far off the scale."""
    notes = []
    seen: dict[float, list[str]] = {}
    for arm in arms:
        track = arm.tracks[arm.shown].get((role, metric)) if arm.tracks else None
        if track is not None and track.values:
            seen.setdefault(track.values[-1], []).append(arm.name)
    top = _top(lines)
    for dash, (limit, names) in enumerate(seen.items()):
        whose = "" if len(names) > 1 or len(arms) == 1 else f"{names[0]}: "
        if top >= _WORTH_DRAWING * limit:
            arm_name = names[0] if whose else "limit"
            lines.append(Line(f"{whose}{label}", arm_name, 3 + dash, [limit] * len(x)))
        else:
            notes.append(f"{whose}{label} is {count(limit)}, far above this scale.")
    return notes


def _dominant(arms: Sequence[ArmData]) -> list[str]:
    """Return the failing outcomes that occurred in any trial, in the catalogue's order."""
    names = {
        metric.removeprefix(_OUTCOME)
        for arm in arms
        for tracks in arm.tracks
        for (_, metric), track in tracks.items()
        if metric.startswith(_OUTCOME) and track.values and track.values[-1] > 0
    }
    return [outcome.value for outcome in Outcome if outcome.value in names - {Outcome.OK.value}]


def _lost(arm: ArmData) -> int:
    shown = arm.summaries[arm.shown]
    return 0 if shown is None else shown.failed + shown.dropped


def _throughput(arms: Sequence[ArmData], x: list[float]) -> Figure:
    lines = _lines(arms, [("served", counter_rate("generator_ok"))], x)
    offered = _lines(arms, [("offered", counter_rate("generator_scheduled"))], x)
    # What both arms were offered is the same by design and needs one line. A client that sits in
    # connect() counts its arrivals late and in bursts, so the arm that lost less tells it better;
    # where an arm was interrupted, the other's line is the longer.
    if offered:
        lost = {arm.name: _lost(arm) for arm in arms}
        best = min(offered, key=lambda line: (sum(v is None for v in line.values), lost[line.arm]))
        lines.insert(0, Line("offered", "limit", 1, best.values))
    return Figure(
        id="throughput",
        title="Connections served",
        unit="connections per second",
        quantity="/s",
        about="A request was answered and its connection closed. Below “offered”, some are lost.",
        axis="time",
        log=False,
        steps=False,
        x=x,
        lines=lines,
        notes=[],
    )


def _losses(arms: Sequence[ArmData], x: list[float]) -> Figure:
    readers = [("never started", counter_rate("generator_dropped"))]
    outcomes = _dominant(arms)
    readers += [(name.replace("_", " "), counter_rate(_OUTCOME + name)) for name in outcomes]
    lines = [
        line
        for line in _lines(arms, readers, x)
        if line.label.endswith("never started") or _top([line]) > 0
    ]
    notes = [f"{name.replace('_', ' ')}: {DESCRIPTIONS[Outcome(name)]}." for name in outcomes]
    return Figure(
        id="losses",
        title="Connections lost, by outcome",
        unit="connections per second",
        quantity="/s",
        about="Never started: the arrival was overdue and given up, as a user would have seen it.",
        axis="time",
        log=False,
        steps=False,
        x=x,
        lines=lines,
        notes=notes,
    )


def _connect_call(arms: Sequence[ArmData], x: list[float]) -> Figure:
    reader = per_call("generator_connect_call_seconds", "generator_connect_calls")
    return Figure(
        id="connect-call",
        title="Time inside one connect() call",
        unit="seconds, logarithmic",
        quantity="s",
        about="The kernel searches for a free local port inside connect(). "
        "When it has to search long, the client cannot open connections any faster.",
        axis="time",
        log=True,
        steps=False,
        x=x,
        lines=_lines(arms, [("", reader)], x),
        notes=[],
    )


def _connect_latency(arms: Sequence[ArmData], x: list[float]) -> Figure:
    lines = []
    for arm in arms:
        spans = [latency_spans(intervals, "connect", 0.99) for intervals in arm.intervals]
        if not spans or not spans[arm.shown]:
            continue
        found = envelope(held(spans[arm.shown], x), [held(row, x) for row in spans if row])
        lines.append(Line(arm.name, arm.name, 0, found.values, found.low, found.high))
    return Figure(
        id="connect-p99",
        title="Connect, 99th percentile of each second",
        unit="seconds, logarithmic",
        quantity="s",
        about="From the intended start to the finished handshake, of the connections that got so "
        "far. Steps at 1 and 3 s are the mark of a dropped SYN.",
        axis="time",
        log=True,
        steps=True,
        x=x,
        lines=lines,
        notes=[],
    )


def _ports(arms: Sequence[ArmData], x: list[float]) -> Figure:
    lines = _lines(arms, [("in use", gauge(ROLE_CLIENT, "ephemeral_ports_in_use"))], x)
    notes = _limits(arms, ROLE_CLIENT, "ephemeral_ports_limit", "ports in the range", lines, x)
    return Figure(
        id="ports",
        title="Local ports in use",
        unit="ports",
        quantity="1",
        about="On the client, toward the target that has most of them; TIME_WAIT included.",
        axis="time",
        log=False,
        steps=False,
        x=x,
        lines=lines,
        notes=notes,
    )


def _time_wait(arms: Sequence[ArmData], x: list[float]) -> Figure:
    readers = [
        ("client", gauge(ROLE_CLIENT, "sockstat_TCP_tw")),
        ("server", gauge(ROLE_SERVER, "sockstat_TCP_tw")),
    ]
    return Figure(
        id="time-wait",
        title="Sockets in TIME_WAIT",
        unit="sockets",
        quantity="1",
        about="They stay for 60 s on the side that closed first, and hold their port meanwhile.",
        axis="time",
        log=False,
        steps=False,
        x=x,
        lines=_lines(arms, readers, x),
        notes=[],
    )


def _conntrack(arms: Sequence[ArmData], x: list[float]) -> Figure:
    lines: list[Line] = []
    notes: list[str] = []
    for dash, role in enumerate((ROLE_CLIENT, ROLE_SERVER, ROLE_HOST)):
        found = _lines(arms, [(role, gauge(role, "nf_conntrack_entries"))], x)
        lines += [msgspec.structs.replace(line, dash=dash) for line in found]
    for role in (ROLE_CLIENT, ROLE_SERVER, ROLE_HOST):
        if any(line.label.endswith(role) for line in lines):
            # nf_conntrack_max is one value for the whole machine: drawing it once is enough.
            notes = _limits(arms, role, "nf_conntrack_entries_limit", "nf_conntrack_max", lines, x)
            break
    return Figure(
        id="conntrack",
        title="Connections tracked by conntrack",
        unit="entries",
        quantity="1",
        about="Each namespace counts its own; at nf_conntrack_max new connections are dropped.",
        axis="time",
        log=False,
        steps=False,
        x=x,
        lines=lines,
        notes=notes,
    )


_TAGS: Final = (
    ("connect", "Connect", "Handshake finished."),
    ("first_byte", "First byte", "First byte of the reply read."),
    ("total", "Whole request", "Reply read and connection closed."),
)


def _percentile(arms: Sequence[ArmData], tag: str, title: str, about: str) -> Figure:
    by_arm: dict[str, dict[float, float]] = {}
    notes = []
    for arm in arms:
        points = percentiles(
            interval.counts for rows in arm.intervals for interval in rows if interval.tag == tag
        )
        if points:
            by_arm[arm.name] = dict(points)
        measured = [summary for summary in arm.summaries if summary is not None]
        lost = sum(summary.failed + summary.dropped for summary in measured)
        if points and lost:
            due = sum(summary.scheduled for summary in measured)
            notes.append(
                f"{arm.name}: {count(lost)} of {count(due)} arrivals were lost and have no "
                "latency; only the others are in this curve."
            )
    x = sorted({point for points in by_arm.values() for point in points})
    return Figure(
        id=f"latency-{tag.replace('_', '-')}",
        title=f"{title}: latency by percentile",
        unit="seconds, logarithmic",
        quantity="s",
        about=f"{about} All trials together, from the intended start.",
        axis="percentile",
        log=True,
        steps=False,
        x=x,
        lines=[
            Line(name, name, 0, [points.get(position) for position in x])
            for name, points in by_arm.items()
        ],
        notes=notes,
    )


def markers(arms: Sequence[ArmData]) -> list[Marker]:
    """Return the moments at which the shown trials began to lose, and their causes set in."""
    found: list[Marker] = []
    for arm in arms:
        summary = arm.summaries[arm.shown] if arm.summaries else None
        if summary is None:
            continue
        moments: dict[float, list[str]] = {}
        if summary.first_failure_at is not None:
            moments[summary.first_failure_at] = ["first connection lost"]
        for cause in summary.causes:
            if cause.first_at is not None:
                moments.setdefault(cause.first_at, []).append(cause.title)
        for moment, texts in sorted(moments.items()):
            text = f"{arm.name}, {seconds(moment)}: {'; '.join(texts)}"
            found.append(Marker(str(len(found) + 1), moment, arm.name, text))
    return found


def plates(arms: Sequence[ArmData], unread: Mapping[str, str]) -> Plates:
    """Return the charts of an experiment.

    Args:
        arms: before and after, as far as they were measured.
        unread: metrics that could not be read, as `role.metric`, with the reason.
    """
    longest = max(
        (track.times[-1] for arm in arms for tracks in arm.tracks for track in tracks.values()),
        default=0.0,
    )
    x = grid(longest)
    drawn: list[Figure] = []
    absent: list[str] = []
    needs = {"conntrack": "nf_conntrack_entries", "ports": "ephemeral_ports_in_use"}
    for make in (
        _throughput, _losses, _connect_call, _connect_latency, _ports, _time_wait, _conntrack,
    ):  # fmt: skip
        figure = make(arms, x)
        if figure.lines and len(x) > 1:
            drawn.append(figure)
        else:
            metric = needs.get(figure.id, "no metric")
            told = [why for name, why in unread.items() if name.endswith(f".{metric}")]
            reason = told[0] if told else "no samples of it"
            absent.append(f"{figure.title}: not drawn, {reason}.")
    latency = []
    for tag, title, about in _TAGS:
        figure = _percentile(arms, tag, title, about)
        if figure.lines:
            latency.append(figure)
        else:
            absent.append(f"{figure.title}: not drawn, no latencies were stored.")
    return Plates(drawn, latency, markers(arms), absent)


def table(figure: Figure, most: int = POINTS + 1) -> tuple[list[str], list[list[str]]]:
    """Return a chart's numbers as a header and rows of text.

    Args:
        figure: the chart.
        most: rows beyond which only every n-th moment is listed.
    """
    if figure.axis == "time":
        every = max(1, -(-len(figure.x) // most))
        first, places = "Time", [seconds(x) for x in figure.x]
    else:
        every = 1
        first, places = "Percentile", [percentile_label(x) for x in figure.x]
    rows = [
        [place, *(quantity(line.values[index], figure.quantity) for line in figure.lines)]
        for index, place in enumerate(places)
        if index % every == 0
    ]
    return [first, *(line.label for line in figure.lines)], rows


def percentile_label(x: float) -> str:
    """Return `p99.9` for 1000, with as many digits as the position 1/(1-p) has nines."""
    digits = max(1, math.ceil(math.log10(x)) - 1)
    return f"p{100 * (1 - 1 / x):.{digits}f}".rstrip("0").rstrip(".")
