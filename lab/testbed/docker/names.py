"""Names and addresses of what the Docker testbed makes. Pure but for the look at one's own process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Final, Self

from lab.testbed.host.journal import boot_id

LAB: Final = "churnlab.lab"
"""The label of everything that `lab run --testbed docker` makes; its value is an `Owner`."""
BENCHMARK: Final = IPv4Network("198.18.0.0/15")
"""RFC 2544: set aside for measuring devices in isolated networks."""
_SMALLEST: Final = 24


@dataclass(frozen=True, slots=True)
class Owner:
    """The lab process that made something."""

    boot: str
    """The boot_id of its machine."""
    pid: int
    started: int
    """Clock ticks from boot to its start, so that a process id used twice misleads nobody."""

    def __str__(self) -> str:
        """Return the label's value."""
        return f"{self.boot}/{self.pid}/{self.started}"

    @classmethod
    def this(cls) -> Self:
        """Return this process."""
        return cls(boot_id(), os.getpid(), start_of(os.getpid()) or 0)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the owner of a label's value; nobody, for an invalid value."""
        boot, _, rest = text.partition("/")
        pid, _, started = rest.partition("/")
        if not (pid.isdecimal() and started.isdecimal()):
            return cls("", 0, 0)
        return cls(boot, int(pid), int(started))

    def here(self) -> bool:
        """Whether it was a process of this machine since its last start."""
        return self.boot == boot_id()

    def alive(self) -> bool:
        """Whether it still runs, as far as can be seen from here: a lab elsewhere may."""
        return not self.here() or start_of(self.pid) == self.started


def start_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # proc(5): the second field may hold blanks and brackets; state is the third, starttime the 22nd.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def free_subnets(taken: Iterable[str], addresses: int) -> Iterator[IPv4Network]:
    """Yield subnets of 198.18.0.0/15 that overlap with none taken, the lowest first.

    Args:
        taken: subnets in use; other than IPv4 ones do not matter.
        addresses: room wanted, beside network, gateway and broadcast address.
    """
    used = [net for text in taken if isinstance(net := ip_network(text, strict=False), IPv4Network)]
    prefix = min(_SMALLEST, 32 - (addresses + 2).bit_length())
    for subnet in BENCHMARK.subnets(new_prefix=prefix):
        if not any(subnet.overlaps(other) for other in used):
            yield subnet
