"""One long run: does the CPU per connection stay the same, and the memory?

Goals: CPU per connection flat within 10 % over 10 minutes, resident memory of all processes of the
run flat after the first 10 s, until the summary is made. The run is cut into windows; each is compared with the median of all.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import trio

from bench import command, resident
from bench.figures import Run, spread
from bench.site import add_options, ground
from bench.table import table
from loadgen.accounting.sums import totals_of
from loadgen.run.rundir import read_samples
from loadgen.sample import ROLE_GENERATOR, Sample

SETTLED = 10.0
"""Seconds after which memory is to stay the same."""


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


def memory(readings: Sequence[resident.Reading]) -> str:
    """Return what the memory of workers and coordinator did after it had settled, a line each."""
    begin = readings[0].t
    settled = [reading for reading in readings if reading.t - begin >= SETTLED]
    last = readings[-1]
    workers = _course("workers", [reading.megabytes for reading in settled], last.megabytes)
    kept = _course("coordinator", [reading.coordinator for reading in settled], last.coordinator)
    return f"{workers}\n{kept}"


def _course(name: str, values: Sequence[float], last: float) -> str:
    if not values:
        return f"memory of the {name}: {last:.1f} MB at the end; shorter than {SETTLED:g} s"
    return (
        f"memory of the {name}: {values[0]:.1f} MB after {SETTLED:g} s, {values[-1]:.1f} MB at the "
        f"end, between {min(values):.1f} and {max(values):.1f}"
    )


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
    print(memory(readings))


def main() -> None:
    parser = command.options(__doc__, "soak")
    parser.add_argument("--rate", type=float, default=10_000.0)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--window", type=float, default=30.0, help="seconds")
    parser.add_argument("--schedule", default="poisson", choices=["poisson", "constant"])
    parser.add_argument(
        "--option", action="append", default=[], help="one more word of loadgen run's command line"
    )
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
