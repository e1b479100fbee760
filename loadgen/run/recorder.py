"""What comes in while a run goes on, written at once: nothing is kept but sums and the last seconds.

So memory stays the same however long the run is, and what a summary is made of is what is on disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import trio

from loadgen.accounting.latency import Counts, IntervalHistogram
from loadgen.accounting.messages import Done, Histograms, Tick, Totals
from loadgen.accounting.sums import HistogramMerger, TickMerger
from loadgen.config import RunConfig
from loadgen.run.rundir import RunDirectory
from loadgen.sample import ROLE_GENERATOR, Sample
from loadgen.sampling.snapshots import NewOutcomes, Recent

OnSample = Callable[[Sample, dict[str, Counts]], None]
"""Called for each sample, with the histograms of the last second."""


class Recorder:
    """Writes a run's samples and histograms, and notices outcomes that are new.

    Args:
        config: the run's.
        directory: where they go.
        on_sample: called for each sample, for whoever shows them.
    """

    def __init__(
        self, config: RunConfig, directory: RunDirectory, on_sample: OnSample | None = None
    ) -> None:
        self._directory = directory
        self._on_sample = on_sample
        self._ticks = TickMerger(config.workers)
        # Seconds between two histograms of a worker: the whole ticks nearest to one second.
        length = max(1, round(1 / config.sample_interval)) * config.sample_interval
        self._histograms = HistogramMerger(config.workers, length)
        self._outcomes = NewOutcomes()
        self._last = 0.0
        self.recent = Recent()
        self.fresh: deque[tuple[str, float]] = deque()
        """Outcomes that nobody has looked into yet, with the moment of the tick that showed them."""
        self.something_fresh = trio.Event()

    @property
    def totals(self) -> Totals:
        """All workers' counts, as far as they have reported."""
        return self._ticks.current()

    @property
    def histograms(self) -> dict[str, Counts]:
        """By tag, of the whole run so far."""
        return self._histograms.total

    def tick(self, worker: int, message: Tick) -> bool:
        """Take in a worker's totals; return whether they completed a sample."""
        return self.samples(self._ticks.add(worker, message))

    def second(self, message: Histograms) -> None:
        """Take in a worker's histograms."""
        self._intervals(self._histograms.add(message))

    def ended(self, worker: int, done: Done | None) -> None:
        """Note that a worker reports no more."""
        self.samples(self._ticks.end(worker))
        self._intervals(self._histograms.end(0.0 if done is None else done.t))

    def finish(self, elapsed: float) -> None:
        """Write what is incomplete, and close the series with the final totals.

        Args:
            elapsed: seconds of the run, to the end of its last attempt.
        """
        self._intervals(self._histograms.finish())
        self.samples([self._ticks.sample(max(elapsed, self._last))])

    def samples(self, samples: Iterable[Sample]) -> bool:
        """Write samples; return whether there were any."""
        found = list(samples)
        if not found:
            return False
        self._directory.add_samples(found)
        for item in found:
            self.recent.add(item)
            if item.role == ROLE_GENERATOR:
                self._last = max(self._last, item.t)
                for outcome in self._outcomes.fresh(item.values):
                    self.fresh.append((outcome, item.t))
                    self.something_fresh.set()
            if self._on_sample is not None:
                self._on_sample(item, self._histograms.latest)
        return True

    def _intervals(self, intervals: list[IntervalHistogram]) -> None:
        if intervals:
            self._directory.add_intervals(intervals)
