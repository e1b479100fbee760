"""How late arrivals start at given rates, with memcached on the same CPUs, beside the paced floor.

Goal at 20,000/s for 60 s: nothing dropped, nothing failed, at least 0.9995 of the rate achieved,
and 99 of 100 arrivals started within 0.3 ms of their moment. The floor is a C program that does
nothing but keep the same pace: what it is late by, the kernel and the machine are.
"""

from __future__ import annotations

import argparse
from functools import partial

from bench import command
from bench.figures import Run, spread
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


def beside(rate: float, floors: list[Run], runs: list[Run]) -> list[tuple[str, ...]]:
    """Return the table's rows of one rate: the floor's lateness and loadgen's."""
    found = []
    for name, side in (("floor", floors), ("loadgen", runs)):
        late = [run.late for run in side if run.late is not None]
        found.append(
            (
                f"{rate:,.0f} {name}",
                spread(run.rate / rate for run in side).text(".4f"),
                *(
                    spread(getattr(one, field) / 1e3 for one in late).text(".3f")
                    for field in ("median", "p99", "longest")
                ),
            )
        )
    return found


async def measure(chosen: argparse.Namespace) -> None:
    rows = []
    async with ground(chosen) as site:
        for rate in chosen.rates:
            floors, runs = [], []
            for number in range(chosen.rounds):
                floors.append(
                    await site.undisturbed(
                        partial(site.floor, chosen.floor_seconds, 4096, rate=rate)
                    )
                )
                summary, _ = await site.undisturbed(
                    partial(
                        site.loadgen,
                        *("--rate", str(rate), "--duration", f"{chosen.seconds}s"),
                        *("--schedule", chosen.schedule, *chosen.option),
                    )
                )
                runs.append(run_of(summary))
                print(f"{number + 1}/{chosen.rounds} {described(summary)}")
                missed = ", ".join(shortcomings(summary)) or "none"
                print(f"goals missed: {missed}\n", flush=True)
            rows += beside(rate, floors, runs)
    print(table(("lateness, ms", "achieved", "p50", "p99", "max"), rows))


def main() -> None:
    parser = command.options(__doc__, "open_loop")
    parser.add_argument("--rates", type=float, nargs="+", default=[20_000.0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of loadgen's runs")
    parser.add_argument("--floor-seconds", type=float, default=20.0, help="of the floor's runs")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--schedule", default="constant")
    parser.add_argument(
        "--option", action="append", default=[], help="one more word of loadgen run's command line"
    )
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
