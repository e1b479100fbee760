"""What the machine itself does while all of its CPUs are busy, without any network.

Two things that no generator can do anything about. *Gaps*: one program a CPU does nothing but read
the clock, for a share of every millisecond, and notes when it could not; an arrival that falls due
in a gap is late by the rest of it. *Speed*: one program a CPU walks through memory that fits the
last-level cache; where others share that cache, on a virtual machine whoever else the host serves,
the same code takes several times as long from one moment to the next. Neither shows as `steal`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import command, floor
from bench.figures import spread
from bench.table import table


@dataclass(frozen=True, slots=True)
class Gaps:
    """What one program noted."""

    busy: float
    lost: float
    longest: float
    above: int
    """Longer than 0.3 ms."""
    far_above: int
    """Longer than 3 ms."""


def parse(printed: str) -> Gaps:
    """Return what the program printed.

    Raises:
        ValueError: when it is not its line.
    """
    busy, lost, longest, above, far_above = printed.split()
    return Gaps(float(busy), float(lost), float(longest), int(above), int(far_above))


def on_every_cpu(words: Callable[[int], list[str]]) -> list[str]:
    """Run a program for every CPU, all at once; return what each printed."""
    running = [
        subprocess.Popen(words(cpu), stdout=subprocess.PIPE, text=True)
        for cpu in sorted(os.sched_getaffinity(0))
    ]
    return [process.communicate()[0] for process in running]


def gaps_at(program: Path, chosen: argparse.Namespace, share: float) -> tuple[str, ...]:
    """Return the row of the table for one share."""

    def words(cpu: int) -> list[str]:
        return [str(program), str(cpu), str(chosen.seconds), str(share)]

    found = [parse(said) for _ in range(chosen.rounds) for said in on_every_cpu(words)]
    return (
        f"{share:.0%}",
        spread(gaps.lost / gaps.busy for gaps in found).text(".2%"),
        spread(gaps.longest * 1e3 for gaps in found).text(".2f"),
        spread(gaps.above / chosen.seconds for gaps in found).text(".1f"),
        spread(gaps.far_above / chosen.seconds for gaps in found).text(".1f"),
    )


def speed_in(program: Path, chosen: argparse.Namespace, kilobytes: int) -> tuple[str, ...]:
    """Return the row of the table for one amount of memory."""

    def words(cpu: int) -> list[str]:
        return ["taskset", "-c", str(cpu), str(program), str(kilobytes), str(chosen.seconds)]

    found = [
        [float(field) for field in said.split()]
        for _ in range(chosen.rounds)
        for said in on_every_cpu(words)
    ]
    columns = (spread(column).text(".1f") for column in zip(*found, strict=True))
    return (f"{kilobytes:,} KB", *columns)


async def measure(chosen: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="churnlab-bench-") as scratch:
        clock = floor.compiled(Path(scratch), "jitter")
        rows = [gaps_at(clock, chosen, share) for share in chosen.shares]
        heads = ("each CPU busy", "lost (range)", "longest gap, ms", "gaps > 0.3 ms a second")
        print(table((*heads, "> 3 ms"), rows), flush=True)
        memory = floor.compiled(Path(scratch), "cache")
        rows = [speed_in(memory, chosen, size) for size in chosen.kilobytes]
        heads = ("ns a step, in windows of 10 ms", "p50 (range)", "p90", "p99")
        print(table((*heads, "max"), rows))


def main() -> None:
    parser = command.options(__doc__, "jitter")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 0.7, 0.85, 1.0])
    parser.add_argument("--kilobytes", type=int, nargs="+", default=[256, 4096])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    command.run(measure, parser)


if __name__ == "__main__":
    main()
