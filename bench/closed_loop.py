"""loadgen's closed loop, with everything on, against the C floor: connections per second.

Both keep the same number of connections under way against the same memcached, in turn. loadgen
accounts for every connection, keeps four histograms and samples the kernel ten times a second; the
floor makes the system calls and does nothing else. Goal: at least 0.95 of the floor.
"""

from __future__ import annotations

import argparse
from functools import partial

from bench import arms, command
from bench.site import add_options, ground

GOAL = 0.95


async def measure(chosen: argparse.Namespace) -> None:
    async with ground(chosen) as site:
        found = await arms.interleave(
            site,
            {
                "floor": partial(site.floor, chosen.seconds, chosen.concurrency),
                "loadgen": partial(site.closed_loop, chosen.seconds, chosen.concurrency),
            },
            chosen.rounds,
        )
    print(arms.compared(found, "floor"))
    print(f"goal: loadgen's rate / floor at least {GOAL}")


def main() -> None:
    parser = command.options(__doc__, "closed_loop")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--concurrency", type=int, default=64)
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
