"""All readers of a run together: one call, one sample of each role, on one clock."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from loadgen.sample import Sample
from loadgen.summary import Number


class Reader(Protocol):
    """Reads some metrics of one role. Readings never raise."""

    absent: dict[str, str]
    """Metrics that cannot be read, each with the reason."""

    def read(self, *, now: float | None = None, force: bool = False) -> dict[str, Number]:
        """Return one reading at `now` (CLOCK_MONOTONIC, seconds), with `force` nothing left out."""

    def close(self) -> None:
        """Close what was opened."""


class Sampler:
    """Takes the samples of all roles, and knows what that costs."""

    def __init__(
        self,
        readers: Mapping[str, Sequence[Reader]],
        *,
        interval: float,
        strides: Mapping[str, int] | None = None,
    ) -> None:
        """Sample with the `readers` of each role.

        Args:
            readers: by role, see `loadgen.sample`. A role's readers share one sample.
            interval: seconds that a round may take at most without counting as an overrun.
            strides: by role, sample it only in every so many rounds, the first included.
        """
        self._readers = {role: tuple(group) for role, group in readers.items()}
        self._strides = dict(strides or {})
        self._interval = interval
        self.rounds = 0
        self.overruns = 0
        """Rounds that took longer than the interval."""
        self.longest = 0.0
        """Seconds that the longest round took."""
        self.cpu_seconds = 0.0
        """CPU time that all rounds took together, in this thread."""

    def sample(self, start: float, *, force: bool = False) -> list[Sample]:
        """Return one sample of each role that has something to tell.

        Args:
            start: when the run's clock stood at 0, in seconds of CLOCK_MONOTONIC.
            force: leave nothing out for its cost: for the first and the last sample of a run.
        """
        cpu = time.thread_time()
        began = time.monotonic()
        samples = []
        for role, readers in self._readers.items():
            if self.rounds % self._strides.get(role, 1) and not force:
                continue
            now = time.monotonic()
            values: dict[str, Number] = {}
            for reader in readers:
                values |= reader.read(now=now, force=force)
            if values:
                samples.append(Sample(t=round(now - start, 6), role=role, values=values))
        took = time.monotonic() - began
        self.rounds += 1
        self.overruns += took > self._interval
        self.longest = max(self.longest, took)
        self.cpu_seconds += time.thread_time() - cpu
        return samples

    def cost(self) -> dict[str, Number]:
        """Return the sampler's own metrics, for the generator's sample."""
        return {
            "sampler_cpu_seconds": round(self.cpu_seconds, 6),
            "sampler_rounds": self.rounds,
            "sampler_overruns": self.overruns,
        }

    def absent(self) -> dict[str, dict[str, str]]:
        """Return by role the metrics that could not be read, each with the reason."""
        return {
            role: {name: reason for reader in readers for name, reason in reader.absent.items()}
            for role, readers in self._readers.items()
        }

    def close(self) -> None:
        """Close all readers."""
        for readers in self._readers.values():
            for reader in readers:
                reader.close()
