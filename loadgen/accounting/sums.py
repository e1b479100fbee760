"""Adding up: workers' totals to a run's, and totals to sample values and back.

The samples of the role `generator` carry the whole of the totals, so that the result of a run can be
read from its samples alone, also when it was cut off in the middle.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from loadgen.accounting import latency
from loadgen.accounting.latency import Counts, IntervalHistogram
from loadgen.accounting.messages import TAGS, Histograms, Tick, Totals
from loadgen.sample import ROLE_GENERATOR, Sample
from loadgen.summary import Number

PREFIX = "generator_"
_COUNTS = ("scheduled", "started", "ok", "failed", "dropped", "connect_calls")
_SECONDS = {
    "connect_call_seconds": "connect_call_seconds",
    "cpu_user": "cpu_user_seconds",
    "cpu_system": "cpu_system_seconds",
}
_TLS = {
    "tls_handshakes": "tls_handshakes",
    "tls_resumed": "tls_resumed",
    "tls_cpu": "tls_cpu_seconds",
}
"""Only in the samples of runs that speak it."""
_GROUPS = {"drops": "drop_", "outcomes": "outcome_", "errors": "error_", "replies": "reply_"}


def add(parts: Iterable[Totals]) -> Totals:
    """Return the sum of several workers' totals.

    The first failure is the earliest of any; what was started before it is the sum of what each
    worker had started before its own first failure, or in all where it had none.
    """
    total = Totals()
    started_before = 0
    for part in parts:
        for name in (*_COUNTS, "unfinished", *_SECONDS, *_TLS):
            setattr(total, name, getattr(total, name) + getattr(part, name))
        for group in _GROUPS:
            into: dict[str, int] = getattr(total, group)
            for key, count in getattr(part, group).items():
                into[key] = into.get(key, 0) + count
        if part.first_failure_at is None:
            started_before += part.started
        else:
            started_before += part.started_before_first_failure or 0
            if total.first_failure_at is None or part.first_failure_at < total.first_failure_at:
                total.first_failure_at = part.first_failure_at
    if total.first_failure_at is not None:
        total.started_before_first_failure = started_before
    return total


def values_of(totals: Totals, busiest_worker_seconds: float) -> dict[str, Number]:
    """Return the totals as the values of a sample."""
    values: dict[str, Number] = {PREFIX + name: getattr(totals, name) for name in _COUNTS}
    values[PREFIX + "in_flight"] = totals.unfinished
    values.update({PREFIX + public: getattr(totals, name) for name, public in _SECONDS.items()})
    if totals.tls_cpu:
        values.update({PREFIX + public: getattr(totals, name) for name, public in _TLS.items()})
    values[PREFIX + "busiest_worker_seconds"] = busiest_worker_seconds
    for group, prefix in _GROUPS.items():
        for key, count in getattr(totals, group).items():
            values[PREFIX + prefix + key] = count
    if totals.first_failure_at is not None:
        values[PREFIX + "first_failure_at"] = totals.first_failure_at
        values[PREFIX + "started_before_first_failure"] = totals.started_before_first_failure or 0
    return values


def group_of(values: Mapping[str, Number], group: str) -> dict[str, int]:
    """Return one of the groups (drops, outcomes, errors, replies) from a sample's values."""
    prefix = PREFIX + _GROUPS[group]
    return {
        name.removeprefix(prefix): int(count)
        for name, count in values.items()
        if name.startswith(prefix)
    }


def totals_of(values: Mapping[str, Number]) -> Totals:
    """Return the totals that `values_of` put into a sample."""

    def count(name: str) -> int:
        return int(values.get(PREFIX + name, 0))

    first = values.get(PREFIX + "first_failure_at")
    return Totals(
        scheduled=count("scheduled"),
        started=count("started"),
        ok=count("ok"),
        failed=count("failed"),
        unfinished=count("in_flight"),
        dropped=count("dropped"),
        connect_calls=count("connect_calls"),
        connect_call_seconds=float(values.get(PREFIX + "connect_call_seconds", 0)),
        cpu_user=float(values.get(PREFIX + "cpu_user_seconds", 0)),
        cpu_system=float(values.get(PREFIX + "cpu_system_seconds", 0)),
        tls_handshakes=count("tls_handshakes"),
        tls_resumed=count("tls_resumed"),
        tls_cpu=float(values.get(PREFIX + "tls_cpu_seconds", 0)),
        drops=group_of(values, "drops"),
        outcomes=group_of(values, "outcomes"),
        errors=group_of(values, "errors"),
        replies=group_of(values, "replies"),
        first_failure_at=None if first is None else float(first),
        started_before_first_failure=None
        if first is None
        else count("started_before_first_failure"),
    )


class TickMerger:
    """Turns the ticks of several workers into one sample for each moment of their common grid.

    Workers report on the same grid of moments but not at the same time, and one that is stuck in
    the kernel may pass over a moment. A moment is complete when every worker has reported it or a
    later one, or has ended.
    """

    def __init__(self, workers: int) -> None:
        self._latest: list[Tick | None] = [None] * workers
        self._ended = [False] * workers
        self._emitted = -1

    def add(self, worker: int, tick: Tick) -> Iterator[Sample]:
        """Take one worker's tick; yield the sample that it completes, if any."""
        self._latest[worker] = tick
        yield from self._complete()

    def end(self, worker: int) -> Iterator[Sample]:
        """Note that a worker reports no more; yield the sample that this completes, if any."""
        self._ended[worker] = True
        yield from self._complete()

    def current(self) -> Totals:
        """Return the sum of the latest totals known."""
        return add(tick.totals for tick in self._latest if tick is not None)

    def busiest(self) -> float:
        """Return the CPU seconds of the worker that used most."""
        return max(
            (t.totals.cpu_user + t.totals.cpu_system for t in self._latest if t is not None),
            default=0.0,
        )

    def sample(self, t: float) -> Sample:
        """Return the latest totals as a sample at `t`."""
        return Sample(t, ROLE_GENERATOR, values_of(self.current(), self.busiest()))

    def _complete(self) -> Iterator[Sample]:
        running = [tick for tick, ended in zip(self._latest, self._ended, strict=True) if not ended]
        if not running or any(tick is None for tick in running):
            return
        ticks = [tick for tick in running if tick is not None]
        number = min(tick.number for tick in ticks)
        if number > self._emitted:
            self._emitted = number
            yield self.sample(max(tick.t for tick in ticks))


_LAST = sys.maxsize
"""The number of the interval that ends with the run."""


class HistogramMerger:
    """Turns the histograms of several workers into the run's, one interval after the other.

    Every worker sends one for each second, and one more when it ends; a worker that the kernel held
    back passes over a second and counts it into the next. A second is complete when all that still
    run have sent it, or one of them has ended. Nothing is kept but what is incomplete and the sum.

    Args:
        workers: how many there are.
        length: seconds of an interval.
    """

    def __init__(self, workers: int, length: float) -> None:
        self._running = workers
        self._length = length
        self._pending: dict[int, list[Histograms]] = {}
        self._written = 0.0
        self._elapsed = 0.0
        self.latest: dict[str, Counts] = {}
        """By tag, of the last interval that was complete."""
        self.total: dict[str, Counts] = {}
        """By tag, of all intervals that were complete."""

    def add(self, message: Histograms) -> list[IntervalHistogram]:
        """Take one worker's histograms; return the intervals that they complete."""
        number = _LAST if message.number < 0 else message.number
        arrived = self._pending.setdefault(number, [])
        arrived.append(message)
        if number == _LAST or len(arrived) < self._running:
            return []
        return self._complete(lambda other: other <= number)

    def end(self, t: float = 0.0) -> list[IntervalHistogram]:
        """Note that a worker sends no more, and ended at `t`; return what this completes."""
        self._running -= 1
        self._elapsed = max(self._elapsed, t)
        return self._complete(lambda number: self._running == 0 or number != _LAST)

    def finish(self) -> list[IntervalHistogram]:
        """Return all that is incomplete: nobody is waited for any more."""
        return self._complete(lambda _: True)

    def _complete(self, which: Callable[[int], bool]) -> list[IntervalHistogram]:
        found = []
        for number in sorted(filter(which, self._pending)):
            parts = self._pending.pop(number)
            end = self._elapsed if number == _LAST else number * self._length
            start, self._written = self._written, max(self._written, end)
            self.latest = {
                tag: latency.merged(part.counts.get(tag, {}) for part in parts) for tag in TAGS
            }
            for tag, counts in self.latest.items():
                self.total[tag] = latency.merged((self.total.get(tag, {}), counts))
                if counts:
                    found.append(IntervalHistogram(tag, start, self._written - start, counts))
        return found
