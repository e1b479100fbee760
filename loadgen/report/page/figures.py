"""The records that charts are made of, and the table beside each. Pure: no HTML, no pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from loadgen.accounting.latency import IntervalHistogram
from loadgen.report.numbers import quantity, seconds
from loadgen.report.page.series import POINTS, Tracks, Values
from loadgen.summary import Summary

Axis = Literal["time", "percentile"]
Ink = Literal["first", "second", "limit"]
"""The colour of a line: of the first or the second course, or of what belongs to neither."""


class Course(msgspec.Struct, frozen=True):
    """What the charts draw in one colour: one run, or several under the same settings."""

    name: str
    """Begins the labels in the legends; empty where there is nothing to tell it from."""
    ink: Ink
    labels: list[str]
    """Of the runs: `trial 3`."""
    summaries: list[Summary | None]
    tracks: list[Tracks]
    intervals: list[list[IntervalHistogram]]
    shown: int
    """The run whose course is the line: the middle one by lost share."""
    events: list[tuple[float, str]] = []
    """What was done from outside during the shown run, such as faults: seconds, and in words."""

    def label(self, what: str) -> str:
        """Return `before: served`, or `served` alone."""
        return f"{self.name}: {what}" if self.name else what

    @property
    def readings(self) -> Tracks:
        """What was read in the shown run; nothing where there is no run at all."""
        return self.tracks[self.shown] if self.tracks else {}

    @property
    def summary(self) -> Summary | None:
        """Of the shown run."""
        return self.summaries[self.shown] if self.summaries else None


class Curve(msgspec.Struct, frozen=True):
    """One series of a chart."""

    label: str
    ink: Ink
    dash: int
    """0 is solid; others tell series of the same colour apart."""
    values: Values
    low: Values = []
    high: Values = []


class Marker(msgspec.Struct, frozen=True):
    """A moment worth a vertical line."""

    key: str
    """The short sign in the chart."""
    t: float
    ink: Ink
    text: str


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One chart with all that its reader needs."""

    id: str
    title: str
    unit: str
    """As printed at the axis."""
    quantity: str
    """The unit for `loadgen.report.numbers.quantity`."""
    about: str
    axis: Axis = "time"
    log: bool = False
    steps: bool = False
    """A value holds from the point before it on, rather than at its own point alone."""
    readings: bool = False
    """Each point is one reading, drawn as a dot: the lines between them only guide the eye."""
    x: list[float]
    lines: list[Curve]
    notes: list[str] = []


class Plates(msgspec.Struct, frozen=True):
    """All charts of a page."""

    time: list[Figure]
    percentile: list[Figure]
    markers: list[Marker]
    absent: list[str]
    """One line for each chart that has nothing to draw, with the reason."""
    end: float
    """Where the time axis ends, in seconds."""


def middle(summaries: Sequence[Summary | None]) -> int:
    """Return the index of the run in the middle by lost share, those that count first."""

    def lost(index: int) -> float:
        summary = summaries[index]
        # A run without arrivals has lost less than any other.
        return -1.0 if summary is None or summary.lost_share is None else summary.lost_share

    valid = [i for i, s in enumerate(summaries) if s is not None and s.validity == "valid"]
    known = valid or [i for i, s in enumerate(summaries) if s is not None]
    return sorted(known, key=lost)[(len(known) - 1) // 2] if known else 0


_MOST_ROWS: Final = POINTS + 1


def table(figure: Figure, most: int = _MOST_ROWS) -> tuple[list[str], list[list[str]]]:
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
        if index % every == 0 and (not figure.readings or _read(figure, index))
    ]
    return [first, *(line.label for line in figure.lines)], rows


def _read(figure: Figure, index: int) -> bool:
    """Return whether anything but a limit was read at that moment."""
    return any(line.values[index] is not None for line in figure.lines if line.dash == 0)


def percentile_label(x: float) -> str:
    """Return `p99.9` for 1000, with as many digits as the position 1/(1-p) has nines."""
    digits = max(1, math.ceil(math.log10(x)) - 1)
    return f"p{100 * (1 - 1 / x):.{digits}f}".rstrip("0").rstrip(".")
