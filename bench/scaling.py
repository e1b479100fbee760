"""One worker against two: do workers add up, and what was the limit?

With memcached on the same CPUs two workers take from it what they gain; on a machine with CPUs to
spare their rates add up until the kernel is the limit. What to read there: the rate's ratio, and
the CPU per connection of both. Rates that add up at the same CPU mean that the generator was the
limit before; a rate that stays while the machine is not busy, or while each connection costs more,
means that the kernel (or the server) is.
"""

from __future__ import annotations

import argparse
from functools import partial

from bench import arms, command
from bench.site import add_options, ground


async def measure(chosen: argparse.Namespace) -> None:
    counts = chosen.workers
    async with ground(chosen) as site:
        found = await arms.interleave(
            site,
            {
                f"{count} workers": partial(
                    site.closed_loop, chosen.seconds, chosen.concurrency, count
                )
                for count in counts
            },
            chosen.rounds,
        )
    print(arms.compared(found, f"{counts[0]} workers"))


def main() -> None:
    parser = command.options(__doc__, "scaling")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--concurrency", type=int, default=64, help="all workers together")
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
