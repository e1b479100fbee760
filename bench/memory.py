"""Memory per connection in flight: the workers' resident memory while nobody answers.

memcached is paused, so that connections pile up; each step holds more of them. What is counted is
the generator's own memory: the kernel's, some kilobytes a socket, is not in it.
"""

from __future__ import annotations

import argparse
import os
import signal

import trio

from bench import command, resident
from bench.site import Ground, add_options, ground
from bench.table import table
from lab.testbed.faults import Fault


async def held(site: Ground, count: int) -> float:
    """Return the most megabytes that the worker held with `count` attempts under way."""
    readings: list[resident.Reading] = []
    out = site.place()
    rate = max(1000, count)  # a second to open them all, and another to look
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resident.watch, readings, 0.05)
        nursery.start_soon(site.site.strike, Fault(0.0, 0, "pause"), out)
        try:
            summary, _ = await site.loadgen(
                *("--rate", str(rate), "--duration", "2s", "--timeout", "2s", "--workers", "1"),
                *("--max-in-flight", str(count), "--max-lateness", "2s"),
                out=out,
            )
        finally:
            os.kill(site.site.servers[0], signal.SIGCONT)
        nursery.cancel_scope.cancel()
    if summary.failed < count:
        print(f"  only {summary.failed:,} of {count:,} were under way", flush=True)
    return max(reading.megabytes for reading in readings)


async def measure(chosen: argparse.Namespace) -> None:
    rows = []
    async with ground(chosen) as site:
        first = 0.0
        for count in chosen.counts:
            now = await held(site, count)
            first = first or now
            more = count - chosen.counts[0]
            each = f"{(now - first) / more * 1e3:.2f}" if more else "–"
            rows.append((f"{count:,}", f"{now:.1f}", each))
    print(table(("in flight", "MB of the worker", "KB each, above the first"), rows))


def main() -> None:
    parser = command.options(__doc__, "memory")
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 2000, 6000, 12000])
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
