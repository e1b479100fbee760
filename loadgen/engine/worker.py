"""A worker process: takes its assignment on standard input, runs an engine, reports on stdout.

Started by the coordinator as `python -m loadgen.engine.worker`, in a session of its own, so that Ctrl-C in
the terminal reaches only the coordinator, which then asks the workers to stop. A worker whose
coordinator is gone sees the end of its standard input and stops by itself.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable
from functools import partial

import trio

from loadgen.accounting import messages
from loadgen.accounting.messages import (
    Assignment,
    Done,
    Go,
    Histograms,
    Ready,
    Stop,
    Tick,
    ToWorker,
)
from loadgen.config import RunConfig
from loadgen.engine.library_client import LibraryEngine
from loadgen.engine.loop import Engine
from loadgen.engine.waiting import sharpen_timers
from loadgen.engine.workload import Workload
from loadgen.protocols import PROTOCOLS

_SECOND = 1.0


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _send(message: messages.FromWorker) -> None:
    """Write one line to the coordinator; a message fits a pipe's buffer and hardly ever waits."""
    data = messages.encode(message)
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


class _Input:
    """The coordinator's messages, read from standard input without blocking the loop."""

    def __init__(self) -> None:
        self._stream = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
        self._buffer = b""

    async def next(self) -> ToWorker | None:
        """Return the next message, or None when the coordinator is gone."""
        while b"\n" not in self._buffer:
            data = await self._stream.receive_some()
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: ToWorker = messages.to_worker.decode(line)
        return message


class _Reporter:
    """Turns the engine's ticks into messages."""

    def __init__(self, config: RunConfig) -> None:
        self.engine: Workload | None = None
        self._ticks_a_second = max(1, round(_SECOND / config.sample_interval))
        self._second = 0
        self._warming_up = config.warmup > 0
        self.begin()

    def begin(self) -> None:
        """Count CPU time from here on."""
        self._usage = resource.getrusage(resource.RUSAGE_SELF)

    def account(self) -> messages.Totals:
        """Return the engine's totals, with the CPU time used since the run began."""
        assert self.engine is not None
        totals = self.engine.tally.account()
        now = resource.getrusage(resource.RUSAGE_SELF)
        totals.cpu_user = now.ru_utime - self._usage.ru_utime
        totals.cpu_system = now.ru_stime - self._usage.ru_stime
        return totals

    def tick(self, number: int, t: float) -> None:
        """Report at one tick of the grid; histograms go once a second."""
        assert self.engine is not None
        if self._warming_up:
            self._warming_up = False
            self.begin()
        _send(Tick(number, t, self.account()))
        # A loop that the kernel held back passes over ticks; the second is closed by the next one.
        second = number // self._ticks_a_second
        if second > self._second:
            self._second = second
            _send(Histograms(second, self.engine.tally.take_histograms()))


async def _listen(inbox: _Input, engine: Workload) -> None:
    """Stop the engine when the coordinator says so, or is gone."""
    message: ToWorker | None = Go(0.0)
    while message is not None and not isinstance(message, Stop):
        message = await inbox.next()
    engine.stop()


def _workload(assignment: Assignment, on_tick: Callable[[int, float], None]) -> Workload:
    """Return what makes the assignment's connections."""
    config = assignment.config
    law = () if config.closed_loop else config.law().arrivals(assignment.shard, assignment.shards)
    arrivals = (due - config.warmup for due in law)
    seed = config.seed * 1_000_003 + assignment.shard
    if config.client == "pymemcache":
        return LibraryEngine(
            config,
            arrivals,
            max_in_flight=assignment.max_in_flight,
            concurrency=assignment.concurrency,
            on_tick=on_tick,
            tick=config.sample_interval,
            seed=seed,
        )
    return Engine(
        config,
        PROTOCOLS[config.protocol].scripts(config, assignment.credentials, seed),
        arrivals,
        max_in_flight=assignment.max_in_flight,
        concurrency=assignment.concurrency,
        on_tick=on_tick,
        tick=config.sample_interval,
    )


async def _run() -> None:
    inbox = _Input()
    assignment = await inbox.next()
    if not isinstance(assignment, Assignment):
        return
    config = assignment.config
    reporter = _Reporter(config)
    engine = reporter.engine = _workload(assignment, reporter.tick)
    _send(Ready())
    go = await inbox.next()
    if not isinstance(go, Go):
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    reporter.begin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_listen, inbox, engine))
        await engine.run(go.origin)
        nursery.cancel_scope.cancel()
    _send(
        Done(
            t=engine.tally.elapsed,
            totals=reporter.account(),
            histograms=Histograms(-1, engine.tally.take_histograms()),
            interrupted=engine.interrupted,
        )
    )


def main() -> None:
    """Run until the assignment is done, or the coordinator is gone."""
    raise_file_limit()
    sharpen_timers()
    try:
        trio.run(_run)
    except* BrokenPipeError:
        pass  # nobody is left to report to; a write may notice that before the reader does


if __name__ == "__main__":
    main()
