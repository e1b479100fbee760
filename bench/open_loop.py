"""How late arrivals start at a given rate, with memcached on the same CPUs.

Goal at 20,000/s for 60 s: nothing dropped, nothing failed, at least 0.9995 of the rate achieved,
and 99 of 100 arrivals started within 0.3 ms of their moment. A run of the floor's closed loop
before and after says what the machine could do in those minutes.
"""

from __future__ import annotations

import argparse
from functools import partial

from bench import command
from bench.site import add_options, ground, run_of
from bench.table import table
from loadgen.summary import Latency, Summary

LATENESS_GOAL = 0.3e-3
ACHIEVED_GOAL = 0.9995


def _row(name: str, latency: Latency) -> tuple[str, ...]:
    values = (latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max)
    return (name, *(f"{value * 1e3:.3f}" for value in values))


def described(summary: Summary) -> str:
    """Return the counts and the latencies of a run, as text."""
    run = run_of(summary)
    rows = [_row(name, latency) for name, latency in summary.latency.items()]
    if summary.lateness is not None:
        rows.insert(0, _row("lateness", summary.lateness))
    share = summary.rate.achieved / summary.rate.offered if summary.rate.offered else 0.0
    return "\n".join(
        [
            f"scheduled {summary.scheduled:,}, dropped {summary.dropped:,}, failed "
            f"{summary.failed:,}, achieved {share:.5f} of {summary.rate.offered:,.0f}/s; "
            f"user {run.user_each:.1f} µs, system {run.system_each:.1f} µs a connection; "
            f"{summary.validity}",
            table(("ms", "p50", "p90", "p99", "p99.9", "max"), rows),
        ]
    )


def shortcomings(summary: Summary) -> list[str]:
    """Return which of the goals a run missed, each with its figure."""
    found = []
    if summary.dropped:
        found.append(f"{summary.dropped:,} dropped")
    if summary.failed:
        found.append(f"{summary.failed:,} failed")
    if summary.rate.achieved < ACHIEVED_GOAL * summary.rate.offered:
        found.append(f"achieved {summary.rate.achieved / summary.rate.offered:.5f}")
    if summary.lateness is None or summary.lateness.p99 > LATENESS_GOAL:
        p99 = "unknown" if summary.lateness is None else f"{summary.lateness.p99 * 1e3:.3f} ms"
        found.append(f"p99 lateness {p99}")
    return found


async def measure(chosen: argparse.Namespace) -> None:
    async with ground(chosen) as site:
        floor = partial(site.floor, 3.0, 64)
        for number in range(chosen.rounds):
            run = await site.undisturbed(floor)
            print(f"floor's closed loop: {run.rate:,.0f}/s", flush=True)
            summary, _ = await site.undisturbed(
                partial(
                    site.loadgen,
                    *("--rate", str(chosen.rate), "--duration", f"{chosen.seconds}s"),
                    *("--schedule", chosen.schedule, *chosen.option),
                )
            )
            print(described(summary))
            missed = ", ".join(shortcomings(summary)) or "none"
            print(f"{number + 1}/{chosen.rounds} goals missed: {missed}", flush=True)
        run = await site.undisturbed(floor)
        print(f"floor's closed loop: {run.rate:,.0f}/s")


def main() -> None:
    parser = command.options(__doc__, "open_loop")
    parser.add_argument("--rate", type=float, default=20_000.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--schedule", default="constant")
    parser.add_argument(
        "--option", action="append", default=[], help="one more word of loadgen run's command line"
    )
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
