"""The highest clean open-loop rate, as a share of the floor's closed loop.

Clean: nothing dropped, nothing failed, 99 of 100 arrivals started within 1 ms. Each round measures
the floor, then climbs in steps of a twentieth of its rate until a step fails twice; the figure is
the last clean step over the median of the round's two floors. Goal: 0.9.
"""

from __future__ import annotations

import argparse
from functools import partial

from bench import command
from bench.figures import spread
from bench.site import Ground, add_options, ground
from loadgen.summary import Summary

GOAL = 0.9
LATENESS = 1e-3
STEP = 0.05
HIGHEST_STEP = 24
"""In steps: 1.2 of the floor."""


def clean(summary: Summary) -> bool:
    """Return whether a run was clean, see above."""
    lateness = summary.lateness
    lost = summary.dropped or summary.failed or summary.unfinished
    return not lost and lateness is not None and lateness.p99 <= LATENESS


async def climb(site: Ground, floor: float, first: int, seconds: float) -> float:
    """Return the highest share of `floor` that was clean; 0 when none was."""
    reached = 0.0
    for step in range(first, HIGHEST_STEP + 1):
        share = step * STEP
        for _ in range(2):
            rate = round(floor * share)
            summary, _ = await site.undisturbed(
                partial(site.loadgen, "--rate", str(rate), "--duration", f"{seconds}s")
            )
            late = f"{summary.lateness.p99 * 1e3:.3f} ms" if summary.lateness else "–"
            verdict = "clean" if clean(summary) else f"not clean, {summary.dropped:,} dropped"
            print(f"    {share:.2f}  {rate:,}/s  p99 lateness {late}  {verdict}", flush=True)
            if clean(summary):
                reached = share
                break
        else:
            return reached
    return reached


async def measure(chosen: argparse.Namespace) -> None:
    shares, rates = [], []
    async with ground(chosen) as site:
        floor = partial(site.floor, chosen.seconds, 64)
        for number in range(chosen.rounds):
            before = (await site.undisturbed(floor)).rate
            print(f"  {number + 1}/{chosen.rounds} floor {before:,.0f}/s", flush=True)
            reached = await climb(site, before, chosen.first, chosen.seconds) * before
            after = (await site.undisturbed(floor)).rate
            rates.append(reached)
            shares.append(reached / ((before + after) / 2))
    print(f"highest clean rate: {spread(rates).text()}/s")
    print(f"of the floor's closed loop: {spread(shares).text('.3f')}; goal {GOAL}")


def main() -> None:
    parser = command.options(__doc__, "highest_rate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--first", type=int, default=10, help="the first step, in twentieths")
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
