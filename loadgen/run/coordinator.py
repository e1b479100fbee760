"""Conducts one run: starts the workers, samples the kernel on the same clock, collects, concludes.

The order of things. The run directory and `run.json` exist before the first connection; workers
prepare everything and say so; one moment, a little ahead, becomes the run's time 0 for workers and
samplers alike (CLOCK_MONOTONIC is the same for all processes of a machine). From then on the
coordinator only receives: ticks and histograms from the workers, readings from the sampler. What it
receives it writes at once. At the end, the summary is made from the files' contents alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import msgspec
import trio

from loadgen import __version__, latency, messages, sample, thresholds
from loadgen.accounting import TickMerger
from loadgen.config import RunConfig
from loadgen.errors import ChurnlabError, Exit
from loadgen.latency import Counts
from loadgen.messages import Assignment, Done, Go, Histograms, Ready, Stop, Tick
from loadgen.run import environment
from loadgen.run.conclude import About, Ended, conclude
from loadgen.run.rundir import Interval, RunDirectory
from loadgen.run.seed import seed
from loadgen.sample import Sample
from loadgen.sampling import snapshots
from loadgen.sampling.namespace import NamespaceError
from loadgen.sampling.readers import Readers
from loadgen.summary import Summary

_LEAD = 0.1
"""Seconds between `Go` and the first arrival: time for every worker to be in its loop."""
_GRACE = 5.0
"""Seconds that workers get to report after the last attempt can have ended."""

Progress = Callable[[Sample, "dict[str, Counts]"], None]
"""Called for each sample, with the histograms of the last second."""


class RunError(ChurnlabError):
    """A run that cannot begin."""

    code = Exit.UNEXPECTED


class _Worker:
    """One worker process, as the coordinator sees it."""

    def __init__(self, number: int) -> None:
        self.number = number
        # A session of its own keeps the terminal's Ctrl-C away from it.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "loadgen.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._output = trio.lowlevel.FdStream(os.dup(self.process.stdout.fileno()))
        self._buffer = bytearray()
        self.done: Done | None = None

    def send(self, message: messages.ToWorker) -> None:
        """Send a message; a worker that is gone is noticed where its output ends."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(messages.encode(message))
            self.process.stdin.flush()

    async def receive(self) -> messages.FromWorker | None:
        """Return the next message, or None when the worker has ended."""
        while (end := self._buffer.find(b"\n")) < 0:
            data = await self._output.receive_some(65_536)
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message: messages.FromWorker = messages.from_worker.decode(line)
        return message

    def close(self) -> None:
        """End the process if it has not ended, and reap it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        if self.process.poll() is None and self.done is None:
            self.process.kill()
        self.process.wait()


class Coordinator:
    """Conducts one run.

    Args:
        config: the run's effective configuration.
        directory: where its files go.
        progress: called with every sample, for whoever shows them.
    """

    def __init__(
        self, config: RunConfig, directory: RunDirectory, progress: Progress | None = None
    ) -> None:
        self.config = config
        self._directory = directory
        self._progress = progress
        self._merger = TickMerger(config.workers)
        self._samples: list[Sample] = []
        self._histograms: dict[str, dict[int, int]] = {}
        self._second: dict[str, Counts] = {}
        # Seconds between two histograms of a worker: the whole ticks nearest to one second.
        self._length = max(1, round(1 / config.sample_interval)) * config.sample_interval
        self._written = 0.0
        """How far, in seconds of the run, the latency log has come."""
        self._pending: dict[int, list[Histograms]] = {}
        self._ended = Ended(elapsed=0.0)
        self._workers: list[_Worker] = []
        self._running = 0
        self._watch = snapshots.Watch()
        self._fresh: deque[tuple[str, float]] = deque()
        self._something_fresh = trio.Event()
        self._reading = trio.Lock()
        self._gates = [thresholds.parse_threshold(text) for text in config.thresholds]

    async def run(self, start_at: float | None = None) -> Summary:
        """Run to the end, or to Ctrl-C, and return the summary.

        Args:
            start_at: seconds since the epoch at which the counted run begins; None for at once.

        Raises:
            RunError: when the run cannot begin.
        """
        config = self.config
        with Readers(config) as readers:
            return await self._run(readers, start_at)

    async def _run(self, readers: Readers, start_at: float | None) -> Summary:
        config = self.config
        try:
            about = About(
                version=__version__,
                config=config,
                environment=environment.describe(),
                started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                sysctls=readers.sysctls,
                absent=readers.sampler.absent(),
                seeded=await trio.to_thread.run_sync(seed, config),
            )
            self._directory.write_run(msgspec.to_builtins(about))
            try:
                await self._conduct(readers, start_at, about)
            finally:
                for worker in self._workers:
                    worker.close()
            self._ended.sampler_overruns = readers.sampler.overruns
            about.ended = self._ended
            self._directory.write_run(msgspec.to_builtins(about))
            summary = conclude(about, self._samples, self._histograms)
            self._directory.write_summary(summary)
            return summary
        finally:
            self._directory.close()

    async def _conduct(self, readers: Readers, start_at: float | None, about: About) -> None:
        config = self.config
        for number in range(config.workers):
            worker = _Worker(number)
            self._workers.append(worker)
            worker.send(
                Assignment(
                    config=config,
                    worker=number,
                    shard=config.shard[0] * config.workers + number,
                    shards=config.shard[1] * config.workers,
                    max_in_flight=_share(config.max_in_flight, config.workers, number),
                    concurrency=_share(config.concurrency, config.workers, number),
                )
            )
        for worker in self._workers:
            if not isinstance(await worker.receive(), Ready):
                raise RunError(f"worker {worker.number} did not start", "see its message above")
        wait = _LEAD if start_at is None else max(_LEAD, start_at - time.time())
        origin = time.monotonic() + wait + config.warmup
        about.origin = origin
        self._directory.write_run(msgspec.to_builtins(about))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey_signals, nursery.cancel_scope)
            nursery.start_soon(partial(self._sample, readers, origin))
            nursery.start_soon(partial(self._watch_for_failures, readers, origin, about))
            async with trio.open_nursery() as collectors:
                # Workers end by themselves; one that the kernel holds back is not waited for long.
                collectors.cancel_scope.deadline = (
                    trio.current_time()
                    + (origin - time.monotonic())
                    + config.duration
                    + config.max_lateness
                    + config.timeout
                    + _GRACE
                )
                self._running = len(self._workers)
                for worker in self._workers:
                    worker.send(Go(origin))
                    collectors.start_soon(self._collect, worker)
            nursery.cancel_scope.cancel()
        for worker in self._workers:
            if worker.done is None:
                self._ended.lost_workers.append(f"worker {worker.number} ended without a report")
        with trio.CancelScope(shield=True):
            await self._read(readers, origin, force=True)
            self._finish()
            await self._keep_fresh(readers, origin, about)

    async def _obey_signals(self, scope: trio.CancelScope) -> None:
        """On the first SIGINT or SIGTERM end the run in good order, on the second at once."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self._ended.interrupted:
                    scope.cancel()
                    return
                self._stop()

    def _stop(self) -> None:
        self._ended.interrupted = True
        for worker in self._workers:
            worker.send(Stop())

    # --- what comes in ----------------------------------------------------------------------

    async def _collect(self, worker: _Worker) -> None:
        """Take in everything that one worker sends."""
        while (message := await worker.receive()) is not None:
            match message:
                case Tick():
                    self._record(list(self._merger.add(worker.number, message)))
                case Histograms():
                    self._take_histograms(message)
                case Done():
                    worker.done = message
                    self._ended.elapsed = max(self._ended.elapsed, message.t)
                    final = Tick(sys.maxsize, message.t, message.totals)
                    self._record(list(self._merger.add(worker.number, final)))
                    self._take_histograms(message.histograms)
                    break
        self._running -= 1
        self._record(list(self._merger.end(worker.number)))
        self._flush(lambda number: self._running == 0 or number != _LAST)

    def _take_histograms(self, message: Histograms) -> None:
        number = _LAST if message.number < 0 else message.number
        arrived = self._pending.setdefault(number, [])
        arrived.append(message)
        if number != _LAST and len(arrived) >= self._running:
            self._flush(lambda other: other <= number)

    def _flush(self, which: Callable[[int], bool]) -> None:
        """Write the seconds that are complete."""
        for number in sorted(filter(which, self._pending)):
            parts = self._pending.pop(number)
            end = self._ended.elapsed if number == _LAST else number * self._length
            start, self._written = min(self._written, end), max(self._written, end)
            self._second = {
                tag: latency.merged(part.counts.get(tag, {}) for part in parts)
                for tag in messages.TAGS
            }
            for tag, counts in self._second.items():
                self._histograms[tag] = latency.merged((self._histograms.get(tag, {}), counts))
            self._directory.add_intervals(
                Interval(tag, start, max(0.0, end - start), counts)
                for tag, counts in self._second.items()
                if counts
            )

    async def _sample(self, readers: Readers, origin: float) -> None:
        """Read the kernel on the run's grid until cancelled."""
        interval = self.config.sample_interval
        await self._read(readers, origin, force=True)
        while True:
            behind = time.monotonic() - origin
            number = int(behind / interval) + 1
            await trio.sleep(number * interval - behind)
            await self._read(readers, origin)

    async def _read(self, readers: Readers, origin: float, *, force: bool = False) -> None:
        read = partial(readers.read, origin, force=force)
        async with self._reading:
            samples = await trio.to_thread.run_sync(read)
        self._record(samples)

    # --- snapshots --------------------------------------------------------------------------

    async def _watch_for_failures(self, readers: Readers, origin: float, about: About) -> None:
        """Keep the kernel's state at the first connection of each outcome, until cancelled."""
        while True:
            await self._something_fresh.wait()
            self._something_fresh = trio.Event()
            await self._keep_fresh(readers, origin, about)

    async def _keep_fresh(self, readers: Readers, origin: float, about: About) -> None:
        """Take one snapshot for all outcomes that are new, and write it for each of them."""
        if not self._fresh:
            return
        with trio.CancelScope(shield=True):
            async with self._reading:
                try:
                    state = await trio.to_thread.run_sync(readers.snapshot, origin)
                except NamespaceError:
                    self._fresh.clear()
                    # Its namespace is gone: nothing there to keep any more.
                    return
            while self._fresh:
                outcome, t = self._fresh.popleft()
                kept = snapshots.Kept(
                    outcome=outcome,
                    seen_at=t,
                    state=state,
                    samples=snapshots.recent(self._samples, t),
                )
                write = partial(self._directory.write_snapshot, snapshots.file_of(outcome), kept)
                await trio.to_thread.run_sync(write)
                about.snapshots.append(snapshots.note(kept))
            self._directory.write_run(msgspec.to_builtins(about))

    def _record(self, samples: Sequence[Sample]) -> None:
        if not samples:
            return
        self._samples.extend(samples)
        self._directory.add_samples(samples)
        for item in samples:
            if item.role == sample.ROLE_GENERATOR:
                for outcome in self._watch.fresh(item.values):
                    self._fresh.append((outcome, item.t))
                    self._something_fresh.set()
                if self.config.abort_on_fail:
                    self._check_gates()
            if self._progress is not None:
                self._progress(item, self._second)

    def _check_gates(self) -> None:
        """End the run as soon as a threshold on a count can no longer hold."""
        current = self._merger.current()
        for gate in self._gates:
            if not self._ended.interrupted and gate.already_failed(current):
                self._ended.aborted_by = gate.expression
                self._stop()

    def _finish(self) -> None:
        """Close the series with the final totals."""
        self._flush(lambda _: True)
        final = self._merger.sample(max(self._ended.elapsed, _last_t(self._samples)))
        self._record([final])


_LAST = sys.maxsize


def _last_t(samples: Sequence[Sample]) -> float:
    return max((s.t for s in samples if s.role == sample.ROLE_GENERATOR), default=0.0)


def _share(whole: int, parts: int, number: int) -> int:
    """Return part `number` of `whole` split as evenly as integers allow, at least 1."""
    return max(1, whole // parts + (number < whole % parts))
