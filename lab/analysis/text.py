"""What the lab's reports write of a comparison. Plain numbers and times: `loadgen.report.numbers`."""

from __future__ import annotations

from lab.analysis.records import Estimate, MetricComparison
from loadgen.report.numbers import (
    count,
    moment,
    plural,
    quantity,
    seconds,
    share,
    significant,
)
from loadgen.summary import Environment, emulated
from loadgen.units import NOTHING

__all__ = [
    "NOTHING",
    "change",
    "count",
    "effect",
    "interval",
    "kernel",
    "memory",
    "moment",
    "percent",
    "plural",
    "probability",
    "quantity",
    "seconds",
    "share",
    "significant",
]


def kernel(environment: Environment) -> str:
    """Return which kernel it was, and what no reader of a time may miss about its processors."""
    release = environment.kernel or "unknown"
    return f"{release}, on emulated processors" if emulated(environment) else release


def interval(estimate: Estimate | None, unit: str) -> str:
    """Return `low to high` of an estimate; nothing where there is no spread to show."""
    if estimate is None or estimate.ci[0] == estimate.ci[1]:
        return ""
    low, high = (quantity(edge, unit) for edge in estimate.ci)
    return low if low == high else f"{low} to {high}"


def change(metric: MetricComparison) -> str:
    """Return the change from before to after, or `~` where none was detected."""
    if metric.p is None:
        return NOTHING
    if not metric.significant:
        return "~"
    if metric.before is None or metric.after is None:
        return NOTHING
    if metric.change is None:
        difference = metric.after.median - metric.before.median
        sign = "+" if difference > 0 else "−"
        if metric.unit == "share":
            return f"{sign}{significant(100 * abs(difference))} points"
        return f"{sign}{quantity(abs(difference), metric.unit)}" if difference else NOTHING
    if metric.change == 0:
        return NOTHING
    return percent(metric.change)


def percent(change: float) -> str:
    """Return a relative change with its sign: `+5.2%`, `−100%`, `×12` from fivefold on."""
    if change in {0, -1}:
        return "0%" if change == 0 else "−100%"
    if change >= 4:
        return f"×{significant(change + 1, 2)}"
    return f"{change:+.1%}".replace("-", "−")


def effect(delta: float | None) -> str:
    """Return Cliff's delta, -1 to 1, with its sign."""
    if delta is None:
        return NOTHING
    return f"{delta:+.2f}".replace("-", "−") if delta else "0"


def probability(p: float | None) -> str:
    """Return a p value with two significant digits, or `<0.0001`."""
    if p is None:
        return NOTHING
    return "<0.0001" if p < 0.0001 else f"{p:.2g}"


def memory(size: float) -> str:
    """Return bytes in the unit that suits them, decimal: `14.5 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size) >= factor * 0.9995:
            return f"{significant(size / factor)} {unit}"
    return f"{size:.0f} B"
