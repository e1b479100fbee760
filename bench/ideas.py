"""What one change to the floor gives: socket options, epoll's modes, io_uring, CPU pinning.

Each idea is the C floor with one thing done differently, in turn with the plain one, so that what
the kernel gives is seen without Python around it. What is worth nothing here is worth nothing in
loadgen. `RESET` is no idea for loadgen (another experiment, see --close), but says what the FIN
handshake and TIME_WAIT cost.
"""

from __future__ import annotations

import argparse
import os
from functools import partial

from bench import arms, command, floor
from bench.site import Ground, add_options, ground
from lab.testbed.base import TestbedError

DEFINES = {
    "edge-triggered epoll": "EDGE_TRIGGERED",
    "epoll without sleeping": "SPIN",
    "next connection at each close": "OPEN_AT_ONCE",
    "TCP_QUICKACK on": "QUICKACK",
    "TCP_QUICKACK off": "NO_QUICKACK",
    "TCP_NODELAY": "NODELAY",
    "TCP_FASTOPEN_CONNECT": "FASTOPEN_CONNECT",
    "SO_BUSY_POLL": "BUSY_POLL",
    "IP_LOCAL_PORT_RANGE": "PORT_RANGE",
    "RST instead of FIN": "RESET",
}


def variants(site: Ground, seconds: float, concurrency: int) -> dict[str, arms.Arm]:
    """Return the plain floor and each idea."""
    run = partial(site.floor, seconds, concurrency)
    found: dict[str, arms.Arm] = {"floor": run}
    for name, define in DEFINES.items():
        found[name] = partial(run, defines=(define,))
    try:
        floor.compiled(site.scratch, "uring")
    except TestbedError as error:
        print(f"  left out: io_uring: {error}")
    else:
        found["io_uring"] = partial(run, source="uring")
    first = min(os.sched_getaffinity(0))
    found[f"client pinned to CPU {first}"] = partial(run, prefix=("taskset", "-c", str(first)))
    return found


async def measure(chosen: argparse.Namespace) -> None:
    async with ground(chosen) as site:
        sides = variants(site, chosen.seconds, chosen.concurrency)
        if chosen.only:
            sides = {n: run for n, run in sides.items() if n == "floor" or chosen.only in n}
        found = await arms.interleave(site, sides, chosen.rounds)
    print(arms.compared(found, "floor"))


def main() -> None:
    parser = command.options(__doc__, "ideas")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each run")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--only", default="", metavar="TEXT", help="ideas whose name contains it")
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
