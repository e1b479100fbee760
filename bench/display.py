"""What the live display costs, and what a report does.

The display: the same run on a terminal and without one, in turn; compared is the CPU that the
coordinator, which samples, writes and draws, uses while the run goes on (not to start and to sum
up). A report: `loadgen report` on the last run's directory.
"""

from __future__ import annotations

import argparse
import os
import pty
import sys
import time
from pathlib import Path

import trio

from bench import command
from bench.figures import in_turn, spread
from bench.quiet import process_seconds
from bench.site import Ground, add_options, ground
from bench.table import table
from lab.testbed.processes import spawn


async def _drain(terminal: int) -> None:
    """Read what is drawn, as a terminal does, until nobody draws any more."""
    while True:
        try:
            await trio.to_thread.run_sync(os.read, terminal, 65_536, abandon_on_cancel=True)
        except OSError:  # EIO: the other side is closed
            return


async def coordinator(site: Ground, chosen: argparse.Namespace, *, on_terminal: bool) -> float:
    """Return the share of a core that the coordinator used while the run went on."""
    out = site.place()
    words = ("--rate", str(chosen.rate), "--duration", f"{chosen.seconds}s", "--out", str(out))
    program = [sys.executable, "-m", "loadgen", "run", *site.site.targets, *words]
    near, far = pty.openpty() if on_terminal else (-1, os.open(os.devnull, os.O_WRONLY))
    async with trio.open_nursery() as nursery:
        child = spawn(program, namespace=site.site.client, output=far)
        os.close(far)
        if on_terminal:
            nursery.start_soon(_drain, near)
        try:
            origin = await site.origin_of(out)
            await trio.sleep(origin - time.monotonic() + 0.2)
            cpu, begin = process_seconds(child.pid), time.monotonic()
            await trio.sleep(origin + chosen.seconds - 0.1 - time.monotonic())
            share = (process_seconds(child.pid) - cpu) / (time.monotonic() - begin)
            await child.wait()
        finally:
            child.kill()
    if on_terminal:
        os.close(near)
    return share


async def report(site: Ground, directory: Path) -> float:
    """Return the seconds that `loadgen report` takes."""
    begin = time.monotonic()
    await site.output_of([sys.executable, "-m", "loadgen", "report", str(directory)])
    return time.monotonic() - begin


async def measure(chosen: argparse.Namespace) -> None:
    shares: dict[str, list[float]] = {"no terminal": [], "terminal": []}
    async with ground(chosen) as site:
        for number, name in in_turn(list(shares), chosen.rounds):
            share = await coordinator(site, chosen, on_terminal=name == "terminal")
            shares[name].append(share)
            print(f"  {number + 1}/{chosen.rounds} {name:<12} {share:.2%} of a core", flush=True)
        last = max(site.scratch.glob("run-*"), key=lambda path: path.stat().st_mtime)
        times = [await report(site, last) for _ in range(5)]
    rows = [(name, spread(values).text(".2%")) for name, values in shares.items()]
    print(table(("median (range)", "coordinator, of a core"), rows))
    differences = [b - a for a, b in zip(*shares.values(), strict=True)]
    print(f"the display costs {spread(differences).text('.2%')} of a core")
    print(f"loadgen report: {spread(times).text('.2f')} s for a run of {chosen.seconds:g} s")


def main() -> None:
    parser = command.options(__doc__, "display")
    parser.add_argument("--rate", type=float, default=5000.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run")
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
