"""A run with 64 workers at 2,000,000 connections a second, replayed: what it costs the coordinator.

Nobody here has 64 processors, so the workers are a replay: one process writes into 64 pipes what 64
workers write, totals ten times a second and latencies each second, in real time. The other end is
the coordinator's own: its pipes, its decoder, the recorder that adds up and writes the run
directory, and the live view. What is measured is the CPU of that process and, for each tenth of a second,
how late its sample was there.

Goal: under 20 % of a core, and no sample later than the next is due.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from bench import command
from bench.figures import spread
from loadgen.accounting.latency import Counts, bucket
from loadgen.accounting.messages import TAGS, Done, Histograms, Tick, Totals, encode
from loadgen.config import RunConfig
from loadgen.run.live import Live
from loadgen.run.process import WorkerProcess
from loadgen.run.recorder import Recorder
from loadgen.run.rundir import RunDirectory
from loadgen.sample import ROLE_GENERATOR, Sample

WORKERS, RATE, TICK = 64, 2_000_000.0, 0.1
SHARE_GOAL = 0.2
_TEMPLATES = 8
_LEAD = 0.5
"""Seconds between the fork and the first tick."""


class Replayed(WorkerProcess):
    """A worker of which there is only the pipe that it writes into."""

    def __init__(self, number: int, pipe: int) -> None:
        self.number = number
        self._output = trio.lowlevel.FdStream(pipe)
        self._buffer = bytearray()
        self.done = None


def latencies(dice: random.Random, count: int) -> dict[str, dict[int, int]]:
    """Return a worker's second: so many connections, as spread out as real ones are."""
    found = {}
    for tag in TAGS:
        if tag == "tls":
            continue
        counts: dict[int, int] = {}
        for _ in range(count):
            place = bucket(int(dice.lognormvariate(5.5, 0.8)))
            counts[place] = counts.get(place, 0) + 1
        found[tag] = counts
    return found


def replay(pipes: Sequence[int], origin: float, seconds: int, each: float) -> None:
    """Write what the workers of a run write, when they would."""
    dice = random.Random(1)
    templates = [latencies(dice, int(each)) for _ in range(_TEMPLATES)]
    for number in range(1, int(seconds / TICK) + 1):
        time.sleep(max(0.0, origin + number * TICK - time.monotonic()))
        t = number * TICK
        made = int(t * each)
        totals = Totals(scheduled=made, started=made, ok=made - 5, unfinished=5, connect_calls=made)
        totals.outcomes, totals.replies = {"ok": made - 5}, {"hit": made - 5}
        second, due = divmod(number, round(1 / TICK))
        for worker, pipe in enumerate(pipes):
            os.write(pipe, encode(Tick(number, t, totals)))
            if not due:
                counts = templates[(worker + second) % _TEMPLATES]
                os.write(pipe, encode(Histograms(second - 1, counts)))
    for pipe in pipes:
        os.write(pipe, encode(Done(seconds, totals, Histograms(-1, {}), interrupted=False)))
        os.close(pipe)


async def coordinate(
    workers: Sequence[Replayed], directory: Path, origin: float, seconds: int
) -> tuple[float, list[float], Totals]:
    """Return the CPU that the coordinator's part took, how late each sample was, and the sums."""
    config = RunConfig(
        targets=["198.18.0.1:11211"],
        addresses=[("198.18.0.1", 11211)],
        rate=RATE,
        duration=float(seconds),
        workers=len(workers),
        max_in_flight=100_000,
    )
    late: list[float] = []
    drawn: list[str] = []
    view = Live(config, drawn.append)

    def show(item: Sample, histograms: dict[str, Counts]) -> None:
        if item.role == ROLE_GENERATOR:
            late.append(time.monotonic() - origin - item.t)
        view.update(item, histograms)
        drawn.clear()

    recorder = Recorder(config, RunDirectory(directory), show)

    async def collect(worker: Replayed) -> None:
        while worker.done is None and (message := await worker.receive()) is not None:
            match message:
                case Tick():
                    recorder.tick(worker.number, message)
                case Histograms():
                    recorder.second(message)
                case Done():
                    worker.done = message
        recorder.ended(worker.number, worker.done)

    before = time.process_time()
    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(collect, worker)
    return time.process_time() - before, late, recorder.totals


async def measure(chosen: argparse.Namespace) -> None:
    pairs = [os.pipe() for _ in range(chosen.workers)]
    each = RATE / WORKERS
    origin = time.monotonic() + _LEAD + 0.05 * _TEMPLATES * each / 10_000 * len(TAGS)
    child = os.fork()
    if child == 0:
        for reading, _ in pairs:
            os.close(reading)
        replay([writing for _, writing in pairs], origin, chosen.seconds, each)
        os._exit(0)
    for _, writing in pairs:
        os.close(writing)
    workers = [Replayed(number, reading) for number, (reading, _) in enumerate(pairs)]
    with tempfile.TemporaryDirectory() as folder:
        cpu, late, totals = await coordinate(workers, Path(folder), origin, chosen.seconds)
    await trio.to_thread.run_sync(os.waitpid, child, 0)
    share = cpu / chosen.seconds
    in_time = sum(moment < TICK for moment in late)
    print(
        f"{chosen.workers} workers, {each * chosen.workers:,.0f}/s for {chosen.seconds} s: "
        f"{totals.scheduled:,} arrivals added up"
    )
    print(f"coordinator: {share:.1%} of a core (goal {SHARE_GOAL:.0%})")
    print(
        f"samples: {in_time} of {len(late)} before the next was due; late by "
        f"{spread([moment * 1e3 for moment in late]).text('.1f')} ms"
    )
    if share >= SHARE_GOAL or in_time < len(late):
        sys.exit(1)


def main() -> None:
    parser = command.options(__doc__, "workers")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--seconds", type=int, default=20)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
