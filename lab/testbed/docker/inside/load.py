"""The load generator as a container's program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import msgspec

from lab.testbed.docker.inside import addresses, look
from lab.testbed.docker.orders import LoadOrder
from loadgen.run.resolve import default_workers, usable_cpus
from loadgen.sample import ROLE_CLIENT


def command(order: LoadOrder) -> list[str]:
    """Return the load generator's command line.

    The servers are on this machine, although loadgen cannot see that: they get half of the CPUs.
    """
    chosen = any(word.startswith("--workers") for word in order.arguments)
    workers = [] if chosen else ["--workers", str(default_workers(usable_cpus(), shared=True))]
    return [sys.executable, "-m", "loadgen", "run", *order.arguments, *workers]


def role(_: str, arguments: Sequence[str]) -> int:
    """`load ORDER`: take the addresses, note what is in force, and become the load generator."""
    order = msgspec.json.decode(arguments[0], type=LoadOrder)
    for number, address in enumerate(order.sources, start=1):
        addresses.add(address, number)
    addresses.drop_privileges()
    look.keep(ROLE_CLIENT, order.keys)
    arguments = command(order)
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell is wanted
