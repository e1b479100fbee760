"""What is of the machine and not of a namespace: CPUs, softirqs, open files, and processes."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from loadgen.metrics import MACHINE, PROCESS
from loadgen.sampling import parse
from loadgen.sampling.files import KeptFile
from loadgen.summary import Number

_TICKS = os.sysconf("SC_CLK_TCK")
_SHARE_WINDOW = 1.0
"""Seconds. The kernel counts CPU time in ticks of 10 ms, so a share of 100 ms would be coarse."""


class MachineReader:
    """CPU time, packets taken in and open files of the whole machine."""

    def __init__(self) -> None:
        """Open the files; where one is missing, its metrics are in `absent`."""
        self.absent: dict[str, str] = {}
        """Metrics that cannot be read here, each with the reason."""
        self._stat = KeptFile("/proc/stat")
        self._softnet = KeptFile("/proc/thread-self/net/softnet_stat")
        self._files = KeptFile("/proc/sys/fs/file-nr")
        self._before: tuple[float, dict[str, tuple[int, ...]]] | None = None
        self._shares: dict[str, Number] = {}
        self.read()

    def read(self, *, now: float | None = None, force: bool = False) -> dict[str, Number]:  # noqa: ARG002 - all readers take it
        """Return one reading; `now` is seconds of CLOCK_MONOTONIC, when the caller has read it."""
        moment = time.monotonic() if now is None else now
        values: dict[str, Number] = {}
        for file, take in (
            (self._stat, lambda text: self._cpus(text, moment)),
            (self._softnet, _softnet),
            (self._files, _open_files),
        ):
            text = file.read()
            reason = file.reason
            if text is not None:
                try:
                    values.update(take(text))
                except parse.ParseError as error:
                    reason = f"{file.path}: {error}"
            for metric in MACHINE:
                if metric.source == file.path:
                    self._note(metric.name, reason)
        return values

    def _note(self, name: str, reason: str | None) -> None:
        if reason is None:
            self.absent.pop(name, None)
        else:
            self.absent[name] = reason

    def _cpus(self, text: bytes, now: float) -> dict[str, Number]:
        cpus = parse.cpu_stat(text)
        user, nice, system, idle, iowait, irq, softirq, steal = cpus["cpu"]
        if self._before is None or now - self._before[0] >= _SHARE_WINDOW:
            if self._before is not None:
                self._shares = _busiest(self._before[1], cpus)
            self._before = now, cpus
        return {
            "cpu_count": len(cpus) - 1,
            "cpu_user_seconds": (user + nice) / _TICKS,
            "cpu_system_seconds": system / _TICKS,
            "cpu_softirq_seconds": softirq / _TICKS,
            "cpu_irq_seconds": irq / _TICKS,
            "cpu_steal_seconds": steal / _TICKS,
            "cpu_idle_seconds": (idle + iowait) / _TICKS,
            **self._shares,
        }

    def close(self) -> None:
        """Close the files."""
        for file in (self._stat, self._softnet, self._files):
            file.close()


def _busiest(
    before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]
) -> dict[str, Number]:
    """Return the greatest shares that any one CPU was busy, and was in softirqs."""
    busy = softirq = 0.0
    for name, now in after.items():
        if name == "cpu" or name not in before:
            continue
        spent = [b - a for a, b in zip(before[name], now, strict=True)]
        total = sum(spent)
        if total > 0:
            # idle and iowait are 3 and 4 of CPU_FIELDS, softirq is 6; the kernel's idle counters
            # may step back a little.
            busy = max(busy, 1 - max(0, spent[3] + spent[4]) / total)
            softirq = max(softirq, spent[6] / total)
    return {"cpu_busiest_share": round(busy, 3), "cpu_busiest_softirq_share": round(softirq, 3)}


def _softnet(text: bytes) -> dict[str, Number]:
    found = parse.softnet_stat(text)
    return {
        "softnet_processed_total": found["processed"],
        "softnet_dropped_total": found["dropped"],
        "softnet_times_squeezed_total": found["times_squeezed"],
    }


def _open_files(text: bytes) -> dict[str, Number]:
    numbers = parse.integers(text, "file-nr")
    if len(numbers) != 3:
        raise parse.ParseError("file-nr: three numbers expected")
    return {"filefd_allocated": numbers[0], "filefd_maximum": numbers[2]}


class _Process:
    """The open files under one /proc/PID."""

    __slots__ = ("directory", "limits", "schedstat", "stat")

    def __init__(self, pid: int) -> None:
        self.directory = Path(f"/proc/{pid}/fd")
        self.stat = KeptFile(f"/proc/{pid}/stat")
        self.schedstat = KeptFile(f"/proc/{pid}/schedstat")
        self.limits = KeptFile(f"/proc/{pid}/limits")

    def open_files(self) -> int | None:
        """Return how many files the process has open, None when it may not be asked.

        Since Linux 6.2 that is the size of the directory; before, it has to be listed.
        """
        try:
            return self.directory.stat().st_size or sum(1 for _ in self.directory.iterdir())
        except OSError:
            return None

    def close(self) -> None:
        for file in (self.stat, self.schedstat, self.limits):
            file.close()


def processes_of(inodes: Collection[int]) -> list[int]:
    """Return the ids of the processes that hold one of these sockets open, as far as we may look.

    A walk through /proc, once: some milliseconds.
    """
    wanted = {f"socket:[{inode}]" for inode in inodes if inode}
    if not wanted:
        return []
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdecimal() and _holds(process / "fd", wanted)
    ]


def _holds(descriptors: Path, wanted: Collection[str]) -> bool:
    with suppress(OSError):
        for descriptor in descriptors.iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) in wanted:
                    return True
    return False


class ProcessReader:
    """CPU time, waits for a CPU and open files of some processes, such as the load's workers."""

    def __init__(self, pids: Iterable[int]) -> None:
        """Watch `pids`. Of one that ends nothing more is read; its CPU time stays in the sum."""
        self.absent: dict[str, str] = {}
        """Metrics that cannot be read here, each with the reason."""
        self._processes = [_Process(pid) for pid in pids]
        self._ticks = [0] * len(self._processes)
        self._waits = [0] * len(self._processes)
        if not self._processes:
            self.absent = {metric.name: "no process to watch" for metric in PROCESS}

    def read(self, *, now: float | None = None, force: bool = False) -> dict[str, Number]:  # noqa: ARG002 - all readers take them
        """Return one reading of all processes together."""
        if not self._processes:
            return {}
        values: dict[str, Number] = {}
        for place, process in enumerate(self._processes):
            text = process.stat.read()
            if text:
                with suppress(parse.ParseError):
                    self._ticks[place] = parse.process_stat(text).ticks
            text = process.schedstat.read()
            if text:
                with suppress(parse.ParseError, IndexError):
                    self._waits[place] = parse.integers(text)[1]
        values["process_cpu_seconds_total"] = sum(self._ticks) / _TICKS
        if any(self._waits):
            values["process_runqueue_wait_seconds_total"] = sum(self._waits) / 1e9
        values.update(self._nearest_to_limit())
        for metric in PROCESS:
            if metric.name in values:
                self.absent.pop(metric.name, None)
            else:
                self.absent[metric.name] = f"{metric.source}: the process has ended, or is not ours"
        return values

    def _nearest_to_limit(self) -> dict[str, Number]:
        worst: tuple[float, int, int] | None = None
        for process in self._processes:
            used = process.open_files()
            text = process.limits.read()
            if used is None or not text:
                continue
            try:
                limit = parse.open_files_limit(text)
            except parse.ParseError:
                continue
            if limit and (worst is None or used / limit > worst[0]):
                worst = used / limit, used, limit
        return {} if worst is None else {"process_open_fds": worst[1], "process_max_fds": worst[2]}

    def close(self) -> None:
        """Close the files."""
        for process in self._processes:
            process.close()
