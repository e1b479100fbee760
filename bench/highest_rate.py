"""The highest clean open-loop rate, loadgen's and the paced floor's, as shares of the closed loop.

Clean: nothing lost, and 99 of 100 arrivals started within 1 ms. Each round measures the floor's
closed loop, then climbs in steps of a twentieth of its rate, with the paced floor and with loadgen
in turn, until a step fails twice. Goal: loadgen's last clean step at 0.9 of the closed loop.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from functools import partial

from bench import command
from bench.figures import Run, ratios, spread
from bench.site import Ground, add_options, ground, run_of
from bench.table import table

GOAL = 0.9
LATENESS = 1000.0
"""Microseconds."""
SERVED = 0.999
"""Of the rate asked for; a run's last replies come after its last arrival."""
STEP = 0.05
HIGHEST_STEP = 24
"""In steps: 1.2 of the closed loop."""

Paced = Callable[[float], Awaitable[Run]]


def clean(run: Run, rate: float) -> bool:
    """Return whether a paced run was clean, see above."""
    return run.late is not None and run.late.p99 <= LATENESS and run.rate >= SERVED * rate


async def climb(site: Ground, name: str, paced: Paced, ceiling: float, first: int) -> float:
    """Return the highest rate that was clean; 0 when none was."""
    reached = 0.0
    for step in range(first, HIGHEST_STEP + 1):
        rate = float(round(ceiling * step * STEP))
        for _ in range(2):
            run = await site.undisturbed(partial(paced, rate))
            late = "unknown" if run.late is None else f"{run.late.p99 / 1e3:.3f} ms"
            verdict = "clean" if clean(run, rate) else f"not clean, {run.rate / rate:.4f} served"
            print(f"    {name:<8} {rate:>9,.0f}/s  p99 lateness {late}  {verdict}", flush=True)
            if clean(run, rate):
                reached = rate
                break
        else:
            return reached
    return reached


async def measure(chosen: argparse.Namespace) -> None:
    ceilings: list[float] = []
    reached: dict[str, list[float]] = {"floor": [], "loadgen": []}
    async with ground(chosen) as site:

        async def floor(rate: float) -> Run:
            return await site.floor(chosen.seconds, 4096, rate=rate)

        async def loadgen(rate: float) -> Run:
            words = ("--rate", str(rate), "--duration", f"{chosen.seconds}s", "--workers", "1")
            summary, _ = await site.loadgen(*words)
            return run_of(summary)

        for number in range(chosen.rounds):
            run = await site.undisturbed(partial(site.floor, chosen.seconds, 64))
            ceilings.append(run.rate)
            print(f"  {number + 1}/{chosen.rounds} closed loop of the floor {run.rate:,.0f}/s")
            for name, paced in (("floor", floor), ("loadgen", loadgen)):
                reached[name].append(await climb(site, name, paced, run.rate, chosen.first))
    rows = [
        (name, spread(rates).text(), spread(ratios(rates, ceilings)).text(".2f"))
        for name, rates in reached.items()
    ]
    print(table(("highest clean rate", "a second", "of the closed loop"), rows))
    print(f"goal: loadgen at {GOAL} of the closed loop")


def main() -> None:
    parser = command.options(__doc__, "highest_rate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--first", type=int, default=10, help="the first step, in twentieths")
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
