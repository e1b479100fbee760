"""CPU per connection, user and system apart, from low rates to high ones. Goal: flat within 10 %.

Every rate is run once a round, in turn; each is compared with the reference rate of its own round.
This kernel accounts CPU time exactly, but tells user from system by sampling 250 times a second
(CONFIG_TICK_CPU_ACCOUNTING): an evenly spaced schedule can keep step with that sampling, so arrivals
are drawn from a Poisson process here, and the sum is more exact than its parts.
"""

from __future__ import annotations

import argparse

from bench import arms, command
from bench.figures import Run
from bench.site import ground, run_of


async def measure(chosen: argparse.Namespace) -> None:
    async with ground(threads=chosen.memcached_threads) as site:

        def arm(rate: int) -> arms.Arm:
            async def run() -> Run:
                words = ("--rate", str(rate), "--duration", f"{chosen.seconds}s")
                summary, _ = await site.loadgen(*words, "--schedule", chosen.schedule)
                return run_of(summary)

            return run

        found = await arms.interleave(
            site, {f"{rate}/s": arm(rate) for rate in chosen.rates}, chosen.rounds
        )
    print(arms.compared(found, f"{chosen.reference}/s"))


def main() -> None:
    parser = command.options(__doc__, "cpu_by_rate")
    parser.add_argument("--rates", type=int, nargs="+", default=[1000, 2000, 5000, 10000, 20000])
    parser.add_argument("--reference", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--schedule", default="poisson", choices=["poisson", "constant"])
    parser.add_argument("--memcached-threads", type=int, default=4)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
