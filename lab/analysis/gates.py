"""Relative gates: what the tuning may cost, `latency_total: p(99) <= +5% vs before`. Pure.

    METRIC: AGGREGATION OPERATOR CHANGE% vs before

Metrics and aggregations are those of `loadgen.thresholds`; the change is that of the median over
trials, from `before` to `after`. A gate counts only when the change is significant: a difference
that chance explains breaks nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from lab.analysis.records import AFTER, Gate
from lab.analysis.stats import ALPHA, mann_whitney
from lab.analysis.text import percent, probability
from loadgen.summary import Summary
from loadgen.thresholds import LATENCIES, Threshold, ThresholdError, parse_threshold

_RELATIVE: Final = re.compile(r"(?P<head>.*?)(?P<change>[+-]?\d+(?:\.\d+)?)\s*%\s*vs\s+before\s*")
_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class RelativeGate:
    """One parsed gate."""

    expression: str
    reading: Threshold
    """Reads the metric of one run."""
    change: float
    """As a share: 0.05 for +5%."""

    def check(
        self, before: Sequence[Summary], after: Sequence[Summary], alpha: float = ALPHA
    ) -> Gate:
        """Return whether the tuning keeps to it. What was not measured does not pass."""
        first, second = (
            [v for v in (self.reading.check(run).value for run in arm) if v is not None]
            for arm in (before, after)
        )
        if not first or not second:
            return self._gate("not measured", passed=False)
        old, new = median(first), median(second)
        if old:
            change, shown = (new - old) / old, percent((new - old) / old)
        else:
            change = float("inf") if new else 0.0
            shown = f"from 0 to {new:.4g}" if new else "0 in both"
        p = mann_whitney(first, second)
        holds = _OPERATORS[self.reading.compare](change, self.change)
        note = "" if p <= alpha else ", no detectable change"
        return self._gate(f"{shown} (p = {probability(p)}{note})", passed=holds or p > alpha)

    def _gate(self, value: str, *, passed: bool) -> Gate:
        return Gate(expression=self.expression, arm=AFTER, value=value, passed=passed)


def is_relative(expression: str) -> bool:
    """Return whether `expression` is meant for `parse_gate` rather than for `loadgen run`."""
    return re.search(r"\bvs\b", expression) is not None


_PARTS: Final = (r"[^<>=!]*[<>=!]+\s*", r"[+-]?\d+(?:\.\d+)?\s*", r"%\s*", r"vs\s+", r"before\s*")


def _understood(expression: str) -> int:
    """Return how far `expression` follows the grammar, to point at the place where it ends."""
    position = 0
    for part in _PARTS:
        match = re.compile(part).match(expression, position)
        if match is None:
            break
        position = match.end()
    return position


def parse_gate(expression: str) -> RelativeGate:
    """Return the gate.

    Raises:
        ThresholdError: for an unknown metric or a malformed expression; points at the character.
    """
    match = _RELATIVE.fullmatch(expression)
    if match is None:
        raise ThresholdError(
            "expected e.g. `<= +5% vs before`", expression, _understood(expression)
        )
    # The part before the change has the grammar of an absolute threshold: let that parse it, with
    # a zero for the value, so that unknown metrics are refused in the same words.
    head = match["head"]
    zero = "0s" if head.partition(":")[0].strip() in LATENCIES else "0"
    try:
        reading = parse_threshold(head + zero)
    except ThresholdError as error:
        raise ThresholdError(error.problem, expression, error.position) from None
    if reading.compare not in _OPERATORS:
        position = head.rfind(reading.compare)
        raise ThresholdError("a change is bounded with <=, >=, < or >", expression, position)
    return RelativeGate(expression, reading, float(match["change"]) / 100)
