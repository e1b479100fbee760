"""The memory of a run's processes, read from /proc while it goes on and while it is concluded."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from loadgen.sampling.parse import process_stat

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a run's processes held at one moment, in megabytes."""

    t: float
    """Seconds since the watch began."""
    megabytes: float
    """Resident, the workers together; 0 once they have ended."""
    coordinator: float = 0.0
    """Resident, the process that started them, samples the kernel, writes the files and concludes."""
    tree: float = 0.0
    """That process and everything that it has started, down to the last one; what several of them
    share counts once (Pss in proc_pid_smaps(5))."""


def descendants(pid: int) -> list[int]:
    """Return the ids of a process's children, their children, and so on."""
    found: list[int] = []
    with suppress(OSError):  # a process may end while we look
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def workers() -> list[int]:
    """Return the ids of all loadgen workers that this process started, however indirectly."""
    found = []
    for pid in descendants(os.getpid()):
        with suppress(OSError):
            if b"loadgen.engine.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def parents(pids: list[int]) -> list[int]:
    """Return the ids of the processes that started these: the coordinators of workers."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            found.add(process_stat(Path(f"/proc/{pid}/stat").read_bytes()).parent)
    return sorted(found)


def megabytes(pids: list[int]) -> float:
    """Return the resident memory of processes together; what has ended counts nothing."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * _PAGE / 1e6


def proportional(pids: list[int]) -> float:
    """Return the memory of processes together, shared pages once; what has ended counts nothing."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
            total += int(found[1]) if found else 0
    return total * 1024 / 1e6


async def watch(readings: list[Reading], every: float = 0.5) -> None:
    """Append a reading each `every` seconds from the first worker to the coordinator's end.

    It then waits for the next workers, until cancelled.
    """
    begin = time.monotonic()
    coordinators: list[int] = []
    while True:
        pids = workers()
        coordinators = parents(pids) or coordinators
        if held := megabytes(coordinators):
            tree = [*coordinators, *(child for pid in coordinators for child in descendants(pid))]
            readings.append(
                Reading(time.monotonic() - begin, megabytes(pids), held, proportional(tree))
            )
        await trio.sleep(every)
