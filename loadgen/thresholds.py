"""Thresholds: the gates of a run, in k6's grammar: `failed: rate == 0`, `latency_total: p(99) < 5ms`.

    METRIC: AGGREGATION OPERATOR VALUE

| metric | aggregations |
|---|---|
| scheduled, started, ok, failed, unfinished, dropped, lost, or an outcome's name | count, rate, per_second |
| latency_connect, latency_tls, latency_first_byte, latency_total, lateness | avg, med, max, p(N) |
| achieved, offered | value |
| ROLE.METRIC, such as client.sockstat_TCP_tw | first, last, min, max, delta |

`lost` is `failed` and `dropped` together: whom a user would have missed. `rate` is a share from 0 to
1: of the arrivals due for `dropped` and `lost`, of the attempts for the others.
`p(N)` takes 50, 90, 99 and 99.9, the percentiles that a summary keeps. Values of latencies are
durations (`5ms`); all others plain numbers, or shares in per cent (`1%`).
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from loadgen.accounting.messages import Totals
from loadgen.errors import ChurnlabError
from loadgen.metrics import CATALOGUE
from loadgen.outcome import Outcome
from loadgen.sample import KERNEL_ROLES, is_kernel_role
from loadgen.summary import Latency, Summary, ThresholdResult, Verdict
from loadgen.units import parse_duration, shortened

DEFAULT = "ok: count > 0"
"""The gate of a run that was given none: where nothing at all succeeded, the exit code says so."""
COUNTS = ("scheduled", "started", "ok", "failed", "unfinished", "dropped", "lost")
LATENCIES = ("latency_connect", "latency_tls", "latency_first_byte", "latency_total", "lateness")
RATES = ("achieved", "offered")

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_SHAPE = re.compile(
    r"\s*(?P<aggregation>\w+(?:\([^)]*\))?)\s*(?P<operator>[<>=!]+)\s*(?P<value>[^\s<>=!]\S*)\s*"
)
_PERCENTILES = {"50": "p50", "90": "p90", "99": "p99", "99.9": "p99_9"}
_LATENCY_AGGREGATIONS = {"avg": "mean", "med": "p50", "max": "max"}
_COUNT_AGGREGATIONS = ("count", "rate", "per_second")
_RANGE_AGGREGATIONS = ("first", "last", "min", "max", "delta")


class ThresholdError(ChurnlabError, ValueError):
    """An invalid threshold. The message points at the character, in its one line.

    Args:
        problem: what is wrong there.
        expression: the whole threshold.
        position: the character's place in it, from 0.
    """

    def __init__(self, problem: str, expression: str, position: int) -> None:
        super().__init__(problem)
        self.expression = expression
        self.position = position
        self.args = (problem, expression, position)

    def __str__(self) -> str:
        end = self.position >= len(self.expression)
        place = "the end" if end else f"character {self.position + 1}"
        return f"{self.problem}; at {place} of {shortened(self.expression, 80)}"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One parsed threshold."""

    expression: str
    metric: str
    aggregation: str
    compare: str
    value: float

    def check(self, summary: Summary) -> ThresholdResult:
        """Return the verdict on a run. A metric that was not measured does not pass."""
        measured = _value(summary, self.metric, self.aggregation)
        passed = measured is not None and _OPERATORS[self.compare](measured, self.value)
        value = None if measured is None else float(measured)
        return ThresholdResult(expression=self.expression, value=value, passed=passed)

    def already_failed(self, totals: Totals) -> bool:
        """Return whether the run so far settles that this threshold cannot hold any more.

        Only counts of what goes wrong can: they never fall.
        """
        if self.metric == "ok" or self.metric not in {"failed", "dropped", "lost", *Outcome}:
            return False
        count = _count(totals, self.metric)
        bounded = self.compare in {"<", "<=", "=="}
        settled = self.aggregation == "count" or (self.aggregation == "rate" and self.value == 0)
        return (
            bounded
            and settled
            and count >= self.value
            and not _OPERATORS[self.compare](count, self.value)
        )


def parse_threshold(expression: str) -> Threshold:
    """Return the threshold.

    Raises:
        ThresholdError: for an unknown metric or a malformed expression.
    """
    metric, colon, rest = expression.partition(":")
    name = metric.strip()
    if not colon:
        raise ThresholdError(
            "a threshold is METRIC: AGGREGATION OPERATOR VALUE", expression, len(metric)
        )
    allowed = _aggregations(name)
    if not allowed:
        raise ThresholdError(
            f"unknown metric {name!r}{_nearest(name)}", expression, metric.find(name)
        )
    start = len(metric) + 1
    match = _SHAPE.fullmatch(rest)
    if match is None:
        raise ThresholdError(
            "expected e.g. `count == 0`", expression, start + _length_understood(rest)
        )
    aggregation = match["aggregation"]
    position = start + match.start("aggregation")
    if aggregation not in allowed:
        choice = ", ".join(allowed)
        raise ThresholdError(
            f"{name} has no {aggregation!r}; it has {choice}", expression, position
        )
    if match["operator"] not in _OPERATORS:
        raise ThresholdError(
            f"unknown operator {match['operator']!r}; write one of {', '.join(_OPERATORS)}",
            expression,
            start + match.start("operator"),
        )
    try:
        value = _number(name, match["value"])
    except ValueError as error:
        raise ThresholdError(str(error), expression, start + match.start("value")) from error
    return Threshold(expression, name, aggregation, match["operator"], value)


def verdict(thresholds: Iterable[Threshold], summary: Summary) -> Verdict:
    """Return whether all thresholds hold."""
    results = [threshold.check(summary) for threshold in thresholds]
    return Verdict(passed=all(result.passed for result in results), thresholds=results)


def _aggregations(metric: str) -> tuple[str, ...]:
    if metric in LATENCIES:
        return (*_LATENCY_AGGREGATIONS, *(f"p({n})" for n in _PERCENTILES))
    if metric in COUNTS or metric in list(Outcome):
        return _COUNT_AGGREGATIONS
    if metric in RATES:
        return ("value",)
    role, _, name = metric.partition(".")
    return _RANGE_AGGREGATIONS if is_kernel_role(role) and name in CATALOGUE else ()


def _nearest(name: str) -> str:
    known = [
        *COUNTS,
        *LATENCIES,
        *RATES,
        *Outcome,
        *(f"{r}.{m}" for r in KERNEL_ROLES for m in CATALOGUE),
    ]
    found = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else f"; counts are {', '.join(COUNTS)}"


def _length_understood(rest: str) -> int:
    """Return how far `rest` follows the grammar, to point at the place where it ends."""
    part = re.compile(r"\s*(?:\w+(?:\([^)]*\)?)?\s*(?:[<>=!]=?\s*(?:\S+\s*)?)?)?")
    match = part.match(rest)
    return match.end() if match else 0


def _number(metric: str, text: str) -> float:
    if metric in LATENCIES:
        return parse_duration(text)
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number")
    return value


def _value(summary: Summary, metric: str, aggregation: str) -> float | None:
    if metric in LATENCIES:
        return _latency_value(summary, metric, aggregation)
    if metric in RATES:
        return summary.rate.achieved if metric == "achieved" else summary.rate.offered
    if "." in metric:
        role, _, name = metric.partition(".")
        found = summary.kernel.get(role, {}).get(name)
        return None if found is None else getattr(found, aggregation)
    count = _count(summary, metric)
    if aggregation == "count":
        return count
    if aggregation == "per_second":
        return count / summary.elapsed if summary.elapsed else None
    if metric == "lost":
        return summary.lost_share
    whole = summary.scheduled if metric == "dropped" else summary.started
    return count / whole if whole else None


def _count(counted: Summary | Totals, metric: str) -> int:
    found: int = getattr(counted, metric) if metric in COUNTS else counted.outcomes.get(metric, 0)
    return found


def _latency_value(summary: Summary, metric: str, aggregation: str) -> float | None:
    found: Latency | None = (
        summary.lateness
        if metric == "lateness"
        else summary.latency.get(metric.removeprefix("latency_"))
    )
    if found is None:
        return None
    field = _LATENCY_AGGREGATIONS.get(aggregation) or _PERCENTILES[aggregation[2:-1]]
    value: float = getattr(found, field)
    return value
