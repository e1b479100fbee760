"""A dot plot as SVG: rows of single observations on one axis, with what was expected of them. Pure.

Each trial is one mark, so that a reader sees the spread and not only its middle. Shape tells the
kinds of marks apart, colour only helps. The colours are those of the page that the plot stands in;
alone in a file it falls back on the light ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from loadgen.foreign import markup

Kind = Literal["good", "bad", "unsure", "expected", "middle"]

_WIDTH: Final = 860
_LEFT: Final = 230
_RIGHT: Final = 40
_TOP: Final = 34
_ROW: Final = 40
_BOTTOM: Final = 66
_STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: var(--text, #171c24); }
.quiet { fill: var(--muted, #57616e); font-size: 12px; }
.card { fill: var(--card, #fff); }
.grid { stroke: var(--grid, #e9edf1); } .line { stroke: var(--limit, #5c6773); stroke-dasharray: 4 3; }
.span { fill: var(--limit, #5c6773); opacity: .22; }
.good { fill: var(--good, #17713a); } .bad { stroke: var(--bad, #b3261e); stroke-width: 2; }
.unsure { fill: none; stroke: var(--warn, #805300); stroke-width: 1.5; }
.expected { fill: none; stroke: var(--second, #0a63b5); stroke-width: 2; }
.middle { stroke: var(--text, #171c24); stroke-width: 2.5; }
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """One observation or expectation."""

    x: float
    kind: Kind
    says: str
    """Shown when pointed at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotRow:
    """One line of the plot."""

    label: str
    note: str = ""
    """Below the label, smaller."""
    marks: tuple[Mark, ...] = ()
    span: tuple[float, float] | None = None
    """A shaded stretch: a bracket, or a tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The horizontal one.

    Raises:
        ValueError: when it has no length, or a logarithmic one does not begin above 0.
    """

    title: str
    low: float
    high: float
    log: bool = False
    form: Callable[[float], str] = "{:g}".format
    lines: tuple[tuple[float, str], ...] = ()
    """Upright lines through all rows, with their names."""

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"an axis from {self.low:g} to {self.high:g} cannot be drawn")

    def place(self, x: float) -> float:
        """Return where `x` is, 0 at the left end and 1 at the right; what lies outside, at the end."""
        low, high, value = self.low, self.high, min(self.high, max(self.low, x))
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return round values to write below the axis, eight at most."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1, 2, 5), (1, 3), (1,)):
                found = [10.0**d * s for d in decades for s in steps]
                found = [x for x in found if self.low <= x <= self.high]
                if len(found) <= 8:
                    return found
            return found[:: math.ceil(len(found) / 8)]
        rough = (self.high - self.low) / 6
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * s for s in (1, 2, 5, 10) if unit * s >= rough)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]


def _shape(kind: Kind, x: float, y: float) -> str:
    match kind:
        case "good":
            return f'<circle class="good" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        case "bad":
            return f'<path class="bad" d="M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10"/>'
        case "unsure":
            return (
                f'<rect class="unsure" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'
            )
        case "expected":
            return f'<path class="expected" d="M{x:.1f} {y - 9:.1f}l7 9l-7 9l-7-9z"/>'
        case "middle":
            return f'<path class="middle" d="M{x:.1f} {y - 10:.1f}v20"/>'


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.place(value) * (_WIDTH - _LEFT - _RIGHT)


def _row(axis: Axis, row: PlotRow, y: float) -> list[str]:
    lift = 7 if row.note else 0
    parts = [f'<text x="0" y="{y + 5 - lift:.1f}">{markup(row.label)}</text>']
    if row.note:
        parts.append(f'<text class="quiet" x="0" y="{y + 13:.1f}">{markup(row.note)}</text>')
    if row.span is not None:
        left, right = (_x(axis, edge) for edge in row.span)
        parts.append(
            f'<rect class="span" x="{left:.1f}" y="{y - 12:.1f}" width="{max(2.0, right - left):.1f}" '
            'height="24"/>'
        )
    for mark in row.marks:
        shape = _shape(mark.kind, _x(axis, mark.x), y)
        parts.append(f"<g><title>{markup(mark.says)}</title>{shape}</g>")
    return parts


def _legend(legend: Sequence[tuple[Kind, str]], y: float) -> list[str]:
    parts, x = [], float(_LEFT)
    for kind, words in legend:
        parts.append(_shape(kind, x + 6, y))
        parts.append(f'<text class="quiet" x="{x + 18:.1f}" y="{y + 4:.1f}">{markup(words)}</text>')
        x += 34 + 6.6 * len(words)
    return parts


def draw(
    rows: Sequence[PlotRow], axis: Axis, *, title: str, legend: Sequence[tuple[Kind, str]]
) -> str:
    """Return the plot as one SVG element, for a page or for a file of its own.

    Args:
        rows: from top to bottom.
        axis: what all of them share.
        title: for those who cannot see it: what is shown.
        legend: the kinds of marks that occur, with their meaning.
    """
    bottom = _TOP + _ROW * len(rows)
    height = bottom + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="100%" role="img" aria-label="{markup(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="card" width="{_WIDTH}" height="{height}"/>',
    ]
    for tick in axis.ticks():
        x = _x(axis, tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP - 8}V{bottom}"/>')
        parts.append(
            f'<text class="quiet" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">'
            f"{markup(axis.form(tick))}</text>"
        )
    for value, name in axis.lines:
        x = _x(axis, value)
        anchor = "end" if axis.place(value) > 0.7 else "start"
        parts.append(f'<path class="line" d="M{x:.1f} {_TOP - 14}V{bottom}"/>')
        parts.append(
            f'<text class="quiet" x="{x:.1f}" y="{_TOP - 19}" text-anchor="{anchor}">'
            f"{markup(name)}</text>"
        )
    for number, row in enumerate(rows):
        parts += _row(axis, row, _TOP + _ROW * (number + 0.5))
    parts.append(
        f'<text class="quiet" x="{_WIDTH - _RIGHT}" y="{bottom + 34}" text-anchor="end">'
        f"{markup(axis.title)}</text>"
    )
    parts += _legend(legend, bottom + 52)
    return "\n".join([*parts, "</svg>"])
