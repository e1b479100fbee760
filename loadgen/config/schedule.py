"""Schedules: the laws by which arrivals fall due (the open loop), as pure functions of time.

An open-loop generator starts attempts when they are due, whether or not earlier ones have ended;
the schedule therefore knows nothing of replies. Times are seconds since the run's start. Work is
split between `shards` generators without any talk between them: shard i of n takes every n-th
arrival, starting with the i-th, so that the shards together make exactly the whole schedule. A
Poisson process splits into independent Poisson processes of rate/n instead.

The schedule yields arrivals one at a time and never looks at a clock; who is late, and what is then
dropped, is the engine's business.
"""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from loadgen.units import shortened

ENDLESS: Final = 1 << 62
"""More arrivals than any law has: what a search among them may go up to."""
NAMES = "constant, poisson, ramp:FROM-TO, steps:R1,R2,…"
MOST_RATE: Final = 10_000_000
"""Arrivals a second: a hundred times what a machine can open."""


class Schedule(Protocol):
    """A law of arrivals over a fixed duration."""

    @property
    def mean_rate(self) -> float:
        """Arrivals per second, averaged over the duration."""

    def arrivals(self, shard: int = 0, shards: int = 1) -> Iterator[float]:
        """Yield the times at which this shard's arrivals are due, in order, within the duration."""

    def due_by(self, t: float) -> float:
        """Return how many arrivals the law means to be due by `t` seconds, all shards together."""


@dataclass(frozen=True, slots=True)
class Constant:
    """`rate` arrivals a second, evenly spaced; the first at time 0."""

    rate: float
    duration: float

    @property
    def mean_rate(self) -> float:
        """The rate itself."""
        return self.rate

    def arrivals(self, shard: int = 0, shards: int = 1) -> Iterator[float]:
        """Yield `(k·shards + shard) / rate` for each k from 0; nothing at rate 0."""
        if not self.rate:
            return
        for index in itertools.count(shard, shards):
            # A division for each arrival, not a running sum: sums of 1/rate drift.
            due = index / self.rate
            if due >= self.duration:
                return
            yield due

    def due(self, index: int) -> float:
        """Return when arrival `index`, from 0, is due; infinity when not within the duration."""
        due = index / self.rate if self.rate else math.inf
        return due if due < self.duration else math.inf

    def count(self) -> int:
        """Return how many arrivals there are, all shards together."""
        return bisect_left(range(ENDLESS), math.inf, key=self.due)

    def due_by(self, t: float) -> float:
        """Rate times time, within the duration."""
        return self.rate * min(max(t, 0.0), self.duration)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals, `rate` a second on average: what many unrelated clients look like."""

    rate: float
    duration: float
    seed: int = 1

    @property
    def mean_rate(self) -> float:
        """The expected rate; the number that really falls due varies by its square root."""
        return self.rate

    def arrivals(self, shard: int = 0, shards: int = 1) -> Iterator[float]:
        """Yield times with exponential gaps; the same for the same seed and shard."""
        gap = random.Random(f"{self.seed}/{shard}/{shards}").expovariate
        due = 0.0
        share = self.rate / shards
        while True:
            due += gap(share)
            if due >= self.duration:
                return
            yield due

    def due_by(self, t: float) -> float:
        """Rate times time, within the duration."""
        return self.rate * min(max(t, 0.0), self.duration)


@dataclass(frozen=True, slots=True)
class Ramp:
    """A rate that changes evenly from `start` to `end` arrivals a second over the duration.

    With slope m = (end - start)/duration, the number due by time t is start·t + m·t²/2. The j-th
    arrival is due at the inverse of that, 2j / (start + sqrt(start² + 2·m·j)): the form that does
    not cancel when m is small.
    """

    start: float
    end: float
    duration: float

    @property
    def mean_rate(self) -> float:
        """The middle of the two rates."""
        return (self.start + self.end) / 2

    def arrivals(self, shard: int = 0, shards: int = 1) -> Iterator[float]:
        """Yield this shard's arrivals; a ramp from 0 starts with one at time 0."""
        for index in itertools.count(shard, shards):
            due = self.due(index)
            if due >= self.duration:
                return
            yield due

    def due(self, index: int) -> float:
        """Return when arrival `index`, from 0, is due; infinity when not within the duration."""
        slope = (self.end - self.start) / self.duration
        square = self.start * self.start + 2 * slope * index
        if square < 0:  # a ramp down, beyond its turn
            return math.inf
        due = 2 * index / (self.start + math.sqrt(square)) if index else 0.0
        return due if due < self.duration else math.inf

    def due_by(self, t: float) -> float:
        """The area under the ramp."""
        inside = min(max(t, 0.0), self.duration)
        slope = (self.end - self.start) / self.duration
        return self.start * inside + slope * inside * inside / 2


@dataclass(frozen=True, slots=True)
class Steps:
    """Constant rates one after the other, each for an equal part of the duration."""

    rates: tuple[float, ...]
    duration: float

    @property
    def mean_rate(self) -> float:
        """The mean of the steps' rates."""
        return sum(self.rates) / len(self.rates)

    def arrivals(self, shard: int = 0, shards: int = 1) -> Iterator[float]:
        """Yield each step's arrivals; the split between shards goes on across steps."""
        before = 0
        for number, step in enumerate(self._steps()):
            for due in step.arrivals((shard - before) % shards, shards):
                yield number * step.duration + due
            before += step.count()

    def due(self, index: int) -> float:
        """Return when arrival `index`, from 0, is due; infinity when not within the duration."""
        for number, step in enumerate(self._steps()):
            if index < (within := step.count()):
                return number * step.duration + step.due(index)
            index -= within
        return math.inf

    def _steps(self) -> Iterator[Constant]:
        length = self.duration / len(self.rates)
        return (Constant(rate, length) for rate in self.rates)

    def due_by(self, t: float) -> float:
        """The sum of the steps so far."""
        length = self.duration / len(self.rates)
        return sum(
            Constant(rate, length).due_by(t - number * length)
            for number, rate in enumerate(self.rates)
        )


Law = Constant | Poisson | Ramp | Steps


def _rate(text: str, whole: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= MOST_RATE:
        raise ValueError(
            f"{shortened(text)} in {shortened(whole)} is not a rate: write arrivals per second, at most "
            f"{MOST_RATE:,}"
        )
    return rate


def _at_least_one_positive(rates: Sequence[float], whole: str) -> None:
    if not any(rate > 0 for rate in rates):
        raise ValueError(f"{whole!r} has no arrivals: give at least one rate above 0")


def parse_schedule(text: str, *, rate: float | None, duration: float, seed: int = 1) -> Law:
    """Return the schedule that `text` names (see `NAMES`).

    Args:
        text: the law; `constant` and `poisson` take their rate from `rate`.
        rate: arrivals per second, above 0; not used by ramp and steps.
        duration: seconds, above 0.
        seed: of the Poisson process.

    Raises:
        ValueError: when `text` is not a schedule, or has no arrivals; the message names the forms.
    """
    law, _, rest = text.partition(":")
    if law in {"constant", "poisson"} and not rest:
        if rate is None or not rate > 0:
            raise ValueError(f"schedule {law!r} needs --rate, in arrivals per second")
        return Constant(rate, duration) if law == "constant" else Poisson(rate, duration, seed)
    if law == "ramp" and "-" in rest:
        first, _, last = rest.partition("-")
        start, end = _rate(first, text), _rate(last, text)
        _at_least_one_positive((start, end), text)
        return Ramp(start, end, duration)
    if law == "steps" and rest:
        rates = tuple(_rate(part, text) for part in rest.split(","))
        _at_least_one_positive(rates, text)
        return Steps(rates, duration)
    raise ValueError(f"{text!r} is not a schedule: write {NAMES}")
