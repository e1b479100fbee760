"""Conducts one run: starts the workers, samples the kernel on the same clock, collects, concludes.

The order of things. The run directory and `run.json` exist before the first connection; workers
prepare everything and say so; one moment, a little ahead, becomes the run's time 0 for workers and
samplers alike (CLOCK_MONOTONIC is the same for all processes of a machine). From then on the
coordinator only receives: ticks and histograms from the workers, readings from the sampler. What it
receives it hands to the `Recorder`, which writes it at once. At the end, the summary is made from the
files' contents alone.
"""

from __future__ import annotations

import signal
import sys
import time
from datetime import UTC, datetime
from functools import partial

import trio

from loadgen import __version__, thresholds
from loadgen.accounting.messages import Assignment, Done, Go, Histograms, Ready, Stop, Tick
from loadgen.accounting.sums import add
from loadgen.config import RunConfig
from loadgen.errors import ChurnlabError, Exit
from loadgen.run import environment, spoken
from loadgen.run.conclude import About, Ended, conclude
from loadgen.run.process import WorkerProcess
from loadgen.run.recorder import OnSample, Recorder
from loadgen.run.rundir import RunDirectory
from loadgen.run.seed import seed
from loadgen.sampling import snapshots
from loadgen.sampling.namespace import NamespaceError
from loadgen.sampling.readers import Readers
from loadgen.summary import Summary
from loadgen.target import Credentials

_LEAD = 0.1
"""Seconds between `Go` and the first arrival: time for every worker to be in its loop."""
_GRACE = 5.0
"""Seconds that workers get to report after the last attempt can have ended."""


class RunError(ChurnlabError):
    """A run that cannot begin."""

    code = Exit.UNEXPECTED


class Coordinator:
    """Conducts one run.

    Args:
        config: the run's effective configuration.
        directory: where its files go.
        on_sample: called for each sample, for whoever shows them.
        credentials: for the servers; in none of the files.
    """

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        on_sample: OnSample | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.config = config
        self._directory = directory
        self._credentials = credentials
        self._recorder = Recorder(config, directory, on_sample)
        self._ended = Ended(elapsed=0.0)
        self._workers: list[WorkerProcess] = []
        self._reading = trio.Lock()
        self._gates = [thresholds.parse_threshold(text) for text in config.thresholds]

    async def run(self, start_at: float | None = None) -> Summary:
        """Run to the end, or to Ctrl-C, and return the summary.

        Args:
            start_at: seconds since the epoch at which the counted run begins; None for at once.

        Raises:
            RunError: when the run cannot begin.
            WriteError: when there is no room for its first file.
        """
        config = self.config
        with Readers(config, self._credentials) as readers:
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
                seeded=await trio.to_thread.run_sync(
                    seed, config, self._credentials, abandon_on_cancel=True
                ),
            )
            self._directory.write_run(about)
            if self._directory.unwritten is not None:
                raise self._directory.unwritten
            try:
                await self._conduct(readers, start_at, about)
            finally:
                for worker in self._workers:
                    worker.close()
            self._ended.sampler_overruns = readers.sampler.overruns
            about.ended = self._ended
            self._directory.write_run(about)
            summary = conclude(about, self._directory.samples(), self._recorder.histograms)
            self._directory.write_summary(summary)
            return summary
        finally:
            self._directory.close()

    async def _conduct(self, readers: Readers, start_at: float | None, about: About) -> None:
        config = self.config
        for number in range(config.workers):
            worker = WorkerProcess(number)
            self._workers.append(worker)
            worker.send(
                Assignment(
                    config=config,
                    worker=number,
                    # Worker w of shard i of n makes arrivals i + n·w, then every n·workers-th, so that
                    # shards make the whole schedule whatever number of workers each of them has.
                    shard=config.shard[0] + config.shard[1] * number,
                    shards=config.shard[1] * config.workers,
                    max_in_flight=_share(config.max_in_flight, config.workers, number),
                    concurrency=_share(config.concurrency, config.workers, number),
                    credentials=self._credentials,
                )
            )
        for worker in self._workers:
            if not isinstance(await worker.receive(), Ready):
                raise RunError(f"worker {worker.number} did not start", "see its message above")
        # An agreed moment stands, also when it was missed: the arrivals that were due since are
        # overdue like any other. Beginning later would shift this shard's load against the others'.
        wait = _LEAD if start_at is None else start_at - time.time()
        about.late = max(0.0, -wait)
        origin = time.monotonic() + wait + config.warmup
        about.origin = origin
        self._directory.write_run(about)
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
                for worker in self._workers:
                    worker.send(Go(origin))
                    collectors.start_soon(self._collect, worker)
            nursery.cancel_scope.cancel()
        for worker in self._workers:
            if worker.done is None:
                self._ended.lost_workers.append(f"worker {worker.number} ended without a report")
        with trio.CancelScope(shield=True):
            await self._read(readers, origin, force=True)
            self._recorder.finish(self._ended.elapsed)
            await self._keep_fresh(readers, origin, about)
            totals = add(worker.done.totals for worker in self._workers if worker.done is not None)
            if spoken.doubtful(config, totals) and not self._ended.interrupted:
                about.spoken = await trio.to_thread.run_sync(spoken.ask, config.addresses)

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

    async def _collect(self, worker: WorkerProcess) -> None:
        """Take in everything that one worker sends."""
        record = self._recorder
        while worker.done is None and (message := await worker.receive()) is not None:
            match message:
                case Tick():
                    self._tick(worker, message)
                case Histograms():
                    record.second(message)
                case Done():
                    worker.done = message
                    self._ended.elapsed = max(self._ended.elapsed, message.t)
                    self._tick(worker, Tick(sys.maxsize, message.t, message.totals))
                    record.second(message.histograms)
        record.ended(worker.number, worker.done)

    def _tick(self, worker: WorkerProcess, tick: Tick) -> None:
        if self._recorder.tick(worker.number, tick) and self.config.abort_on_fail:
            self._check_gates()
        self._check_room()

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
        self._recorder.samples(samples)
        self._check_room()

    # --- snapshots --------------------------------------------------------------------------

    async def _watch_for_failures(self, readers: Readers, origin: float, about: About) -> None:
        """Keep the kernel's state at the first connection of each outcome, until cancelled."""
        while True:
            await self._recorder.something_fresh.wait()
            self._recorder.something_fresh = trio.Event()
            await self._keep_fresh(readers, origin, about)

    async def _keep_fresh(self, readers: Readers, origin: float, about: About) -> None:
        """Take one snapshot for all outcomes that are new, and write it for each of them."""
        if not self._recorder.fresh:
            return
        with trio.CancelScope(shield=True):
            async with self._reading:
                try:
                    state = await trio.to_thread.run_sync(readers.snapshot, origin)
                except NamespaceError:
                    self._recorder.fresh.clear()
                    # Its namespace is gone: nothing there to keep any more.
                    return
            while self._recorder.fresh:
                outcome, t = self._recorder.fresh.popleft()
                kept = snapshots.Kept(
                    outcome=outcome,
                    seen_at=t,
                    state=state,
                    samples=self._recorder.recent.before(t),
                )
                write = partial(self._directory.write_snapshot, snapshots.file_of(outcome), kept)
                if await trio.to_thread.run_sync(write):
                    about.snapshots.append(snapshots.note(kept))
            self._directory.write_run(about)

    def _check_room(self) -> None:
        """End the run as soon as a file of it cannot be written."""
        unwritten = self._directory.unwritten
        if unwritten is not None and not self._ended.interrupted:
            self._ended.unwritten = unwritten.problem
            self._stop()

    def _check_gates(self) -> None:
        """End the run as soon as a threshold on a count can no longer hold."""
        current = self._recorder.totals
        for gate in self._gates:
            if not self._ended.interrupted and gate.already_failed(current):
                self._ended.aborted_by = gate.expression
                self._stop()


def _share(whole: int, parts: int, number: int) -> int:
    """Return part `number` of `whole` split as evenly as integers allow, at least 1."""
    return max(1, whole // parts + (number < whole % parts))
