"""How much CPU everything else on the machine used while a run took place.

A ratio within one run is fair only while both sides have the same machine. Where another program
takes part of it, that run is no observation: it is repeated, as the lab repeats a spoiled trial.
What the hypervisor gives to other machines shows only where it reports that (`steal`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from loadgen.sampling.parse import process_stat

LIMIT = 0.15
"""Cores that others may use during a run. The kernel's own accounting errs by some hundredths."""
TRIES = 4
"""How often a run is made before it is kept although it was disturbed."""
LOOK = 0.4
"""Seconds for which other programs must be quiet before a run begins."""
PATIENCE = 20.0
"""Seconds to wait for that."""
_TICKS = os.sysconf("SC_CLK_TCK")


def busy_seconds(stat: str) -> float:
    """Return the CPU seconds that the machine was not idle, from the text of /proc/stat.

    Raises:
        ValueError: when the text does not begin with the line of all CPUs.
    """
    fields = stat.partition("\n")[0].split()
    if fields[:1] != ["cpu"] or len(fields) < 6:
        raise ValueError("/proc/stat does not begin with the line of all CPUs")
    user, nice, system, _idle, _waiting, *rest = map(int, fields[1:])
    return (user + nice + system + sum(rest[:3])) / _TICKS  # irq, softirq and steal


def process_seconds(pid: int) -> float:
    """Return the CPU seconds of a process.

    Raises:
        OSError: when it has ended.
    """
    return process_stat(Path(f"/proc/{pid}/stat").read_bytes()).ticks / _TICKS


def _ours(servers: Iterable[int]) -> float:
    used = os.times()
    return (
        used.user
        + used.system
        + used.children_user
        + used.children_system
        + sum(process_seconds(pid) for pid in servers)
    )


class Others:
    """The CPU seconds of all other programs since this was made.

    Args:
        servers: processes of ours that still run, besides this one; children that ended count.
    """

    def __init__(self, servers: Iterable[int]) -> None:
        self._servers = tuple(servers)
        self._begin = self._theirs()

    def _theirs(self) -> float:
        return busy_seconds(Path("/proc/stat").read_text()) - _ours(self._servers)

    def seconds(self) -> float:
        """Return them; a little below 0 is possible, where the kernel's two accounts differ."""
        return self._theirs() - self._begin
