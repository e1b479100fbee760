"""CPU per connection from low rates to high ones: loadgen's, the floor's, and what is between them.

Goals: at most 8 µs of user CPU a connection, flat within 10 % from 2,000/s to 20,000/s. The kernel's
own part is not flat: the slower the rate, the more often a CPU has gone to sleep and its caches are
cold, in loadgen and in a C program alike. So the floor is paced at the same rates, in turn, and what
loadgen uses above it is loadgen's own doing.

CPU time is accounted exactly, but most kernels tell user from system by sampling 100 to 1000 times a
second (CONFIG_TICK_CPU_ACCOUNTING), which an evenly spaced schedule can keep step with: the sum is
exact, its two parts are an estimate.
"""

from __future__ import annotations

import argparse
from functools import partial

from bench import command
from bench.figures import Run, ratios, spread
from bench.site import Ground, add_options, ground, run_of
from bench.table import table

CLIENTS = ("floor", "loadgen")


async def paced(site: Ground, rate: int, seconds: float) -> Run:
    """Run loadgen's open loop."""
    words = ("--rate", str(rate), "--duration", f"{seconds}s", "--workers", "1")
    summary, _ = await site.loadgen(*words)
    return run_of(summary)


def rows(found: dict[int, dict[str, list[Run]]], reference: int) -> list[tuple[str, ...]]:
    """Return a row of the table for each rate.

    Raises:
        KeyError: when the reference is none of the rates.
    """
    base = [run.cpu_each for run in found[reference]["loadgen"]]
    lines: list[tuple[str, ...]] = []
    for rate, clients in found.items():
        ours, theirs = ([run.cpu_each for run in clients[name]] for name in ("loadgen", "floor"))
        between = [mine - other for mine, other in zip(ours, theirs, strict=True)]
        lines.append(
            (
                f"{rate:,}",
                spread(theirs).text(".1f"),
                spread(ours).text(".1f"),
                spread(between).text(".1f"),
                spread(run.user_each for run in clients["loadgen"]).text(".1f"),
                spread(ratios(ours, base)).text(".2f"),
            )
        )
    return lines


async def measure(chosen: argparse.Namespace) -> None:
    found: dict[int, dict[str, list[Run]]] = {
        rate: {name: [] for name in CLIENTS} for rate in chosen.rates
    }
    async with ground(chosen) as site:
        for number in range(chosen.rounds):
            for rate in chosen.rates:
                floor = await site.undisturbed(partial(site.floor, chosen.seconds, 4096, rate=rate))
                run = await site.undisturbed(partial(paced, site, rate, chosen.seconds))
                found[rate]["floor"].append(floor)
                found[rate]["loadgen"].append(run)
                print(
                    f"  {number + 1}/{chosen.rounds} {rate:>6,}/s  floor {floor.cpu_each:6.1f} µs"
                    f"  loadgen {run.cpu_each:6.1f} µs ({run.rate:,.0f}/s)",
                    flush=True,
                )
    heads = ("rate", "floor, µs", "loadgen, µs", "between", "loadgen, user")
    print(table((*heads, f"loadgen / at {chosen.reference:,}"), rows(found, chosen.reference)))


def main() -> None:
    parser = command.options(__doc__, "cpu_by_rate")
    parser.add_argument("--rates", type=int, nargs="+", default=[1000, 2000, 5000, 10000, 20000])
    parser.add_argument("--reference", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
