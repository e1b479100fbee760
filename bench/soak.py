"""One long run: does the CPU per connection stay the same, and the memory?

Goals: CPU per connection flat within 10 % over 10 minutes, memory of all processes of the run flat
after the first minute, until the summary is made. The run is cut into windows; each is compared with
the median of all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import trio

from bench import command, resident
from bench.figures import Run, spread
from bench.site import add_options, ground
from bench.table import table
from loadgen.accounting.sums import totals_of
from loadgen.run.rundir import read_samples
from loadgen.sample import ROLE_GENERATOR, Sample

_STRETCH: Final = 10.0
"""Seconds over which memory is taken, the median of its readings."""


def windows(samples: Sequence[Sample], length: float) -> list[tuple[float, Run]]:
    """Cut the generator's samples into windows of about `length` seconds; return start and run."""
    found = []
    ours = [item for item in samples if item.role == ROLE_GENERATOR and item.t >= 0]
    if not ours:
        return []
    first, before = ours[0].t, totals_of(ours[0].values)
    for item in ours:
        now = totals_of(item.values)
        if item.t - first >= length and now.ok > before.ok:
            run = Run(
                now.ok - before.ok,
                item.t - first,
                now.cpu_user - before.cpu_user,
                now.cpu_system - before.cpu_system,
            )
            found.append((first, run))
            first, before = item.t, now
    return found


@dataclass(frozen=True, slots=True)
class Course:
    """What some of a run's processes held, in megabytes."""

    settled: float
    """Over ten seconds once it had settled."""
    end: float
    """Over the last ten seconds of the load."""
    most: float
    """In between."""

    @property
    def ratio(self) -> float:
        """The end's to what it had settled at."""
        return self.end / self.settled


def course(
    readings: Sequence[resident.Reading], of: Callable[[resident.Reading], float], settled: float
) -> Course | None:
    """Return how memory went from `settled` seconds on while there was load; None if too short."""
    loaded = [reading for reading in readings if reading.megabytes]
    if not loaded:
        return None
    begin, end = loaded[0].t + settled, loaded[-1].t
    if end - begin < 2 * _STRETCH:
        return None
    first = [of(reading) for reading in loaded if begin <= reading.t < begin + _STRETCH]
    last = [of(reading) for reading in loaded if reading.t > end - _STRETCH]
    between = max(of(reading) for reading in loaded if reading.t >= begin)
    return Course(median(first), median(last), between) if first and last else None


_PROCESSES: Final[Mapping[str, Callable[[resident.Reading], float]]] = {
    "workers, resident": lambda reading: reading.megabytes,
    "coordinator, resident": lambda reading: reading.coordinator,
    "all processes of the run, shared pages once": lambda reading: reading.tree,
}


def memory(readings: Sequence[resident.Reading], settled: float) -> str:
    """Return what memory did after it had settled, and what concluding the run took."""
    rows = []
    for name, of in _PROCESSES.items():
        found = course(readings, of, settled)
        if found is None:
            return f"memory: the run is too short to settle for {settled:g} s"
        rows.append(
            (
                name,
                f"{found.settled:.1f}",
                f"{found.end:.1f}",
                f"{found.ratio:.3f}",
                f"{found.most:.1f}",
            )
        )
    lines = [table(("MB", f"after {settled:g} s", "at the end", "end / settled", "at most"), rows)]
    # Half a second may pass between two readings, and concluding a short run takes less.
    after = [reading.tree for reading in readings if not reading.megabytes]
    if after:
        lines.append(f"while the summary and the page were made: up to {max(after):.1f} MB")
    return "\n".join(lines)


async def measure(chosen: argparse.Namespace) -> None:
    readings: list[resident.Reading] = []
    async with ground(chosen) as site:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(resident.watch, readings)
            summary, out = await site.loadgen(
                *("--rate", str(chosen.rate), "--duration", f"{chosen.seconds}s"),
                *("--schedule", chosen.schedule, *chosen.option),
            )
            nursery.cancel_scope.cancel()
        cut = windows(list(read_samples(out)), chosen.window)
    print(
        f"{chosen.rate:,.0f}/s for {chosen.seconds:g} s: dropped {summary.dropped:,}, "
        f"failed {summary.failed:,}, {summary.validity}"
    )
    middle = spread(run.cpu_each for _, run in cut)
    print(
        table(
            ("from s", "connections/s", "user µs", "system µs", "CPU / median"),
            [
                (
                    f"{start:.0f}",
                    f"{run.rate:,.0f}",
                    f"{run.user_each:.1f}",
                    f"{run.system_each:.1f}",
                    f"{run.cpu_each / middle.median:.3f}",
                )
                for start, run in cut
            ],
        )
    )
    print(f"CPU per connection {middle.text('.1f')} µs; a window is {chosen.window:g} s")
    print(memory(readings, chosen.settled))


def main() -> None:
    parser = command.options(__doc__, "soak")
    parser.add_argument("--rate", type=float, default=10_000.0)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--window", type=float, default=30.0, help="seconds")
    parser.add_argument("--settled", type=float, default=60.0, help="seconds before memory counts")
    parser.add_argument("--schedule", default="poisson", choices=["poisson", "constant"])
    parser.add_argument(
        "--option", action="append", default=[], help="one more word of loadgen run's command line"
    )
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
