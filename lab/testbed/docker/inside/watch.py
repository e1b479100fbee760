"""Samples a namespace that the load generator cannot see, and puts the samples into its run.

A container sees its own network namespace. What the server's kernel counts, and what the host
tracks of the bridged traffic, is seen by whoever is in those namespaces: one `watch` process in
each, which needs no privilege to read /proc. It writes CLOCK_MONOTONIC, which all containers of a
machine share; `run.json` has the moment on that clock at which the run's own began.

The first line of its file is what was found once (sysctls, and metrics that cannot be read), each
further line one `Sample` whose time is the clock's.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from loadgen import sample
from loadgen.run import rundir, stored
from loadgen.sample import Sample
from loadgen.sampling import NamespaceReader, sysctls_in_force

INTERVAL: Final = 0.1
"""Seconds between two readings, as in `loadgen run`."""
_ROUNDS_A_SECOND: Final = 10
_BESIDE: Final = 0.2
"""Seconds before and after a run that still belong to it: the state it found and left."""


class WatchedNamespace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of the namespace once."""

    role: str
    sysctls: dict[str, str]
    absent: dict[str, str]


def watch(
    role: str,
    path: Path,
    ports: Iterable[int] = (),
    over: Callable[[], bool] = lambda: False,
) -> None:
    """Write samples of this process' namespace to `path` until SIGTERM or SIGINT.

    Args:
        role: `server` or `host`.
        path: made anew; grows by whole lines.
        ports: whose listeners are watched.
        over: asked once a second; true ends it too.
    """
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    reader = NamespaceReader(None, targets=[("127.0.0.1", port) for port in ports])
    reader.read(force=True)
    with path.open("wb", buffering=0) as file:
        found = WatchedNamespace(role=role, sysctls=sysctls_in_force(), absent=reader.absent)
        file.write(msgspec.json.encode(found) + b"\n")
        start, number = time.monotonic(), 0
        while not ended.wait(max(0.0, start + number * INTERVAL - time.monotonic())):
            now = time.monotonic()
            file.write(sample.encode_line(Sample(round(now, 6), role, reader.read(now=now))))
            if number % _ROUNDS_A_SECOND == 0 and over():
                break
            # A reading that was late is not made up for.
            number = max(number + 1, int((time.monotonic() - start) / INTERVAL) + 1)
    reader.close()


def merge(directory: Path, files: Iterable[Path]) -> list[str]:
    """Put what watchers saw during a run into its run directory, and conclude the run anew.

    Does nothing to a run that never began, or for files that hold nothing of its time.

    Returns:
        One line for each file that gave nothing, with the reason.
    """
    run = stored.read(directory)
    about = run.about
    if about.origin is None:
        return [f"{directory.name}: the run did not begin"]
    times = [item.t for item in run.samples]
    first, last = (min(times) - _BESIDE, max(times) + _BESIDE) if times else (0.0, 0.0)
    added: list[Sample] = []
    problems = []
    for path in files:
        found, samples = _read(path)
        of_run = [
            msgspec.structs.replace(item, t=round(item.t - about.origin, 6))
            for item in samples
            if first <= item.t - about.origin <= last
        ]
        if found is None or not of_run:
            problems.append(f"{path.name}: no samples of this run's time")
            continue
        added += of_run
        about.sysctls.setdefault(found.role, found.sysctls)
        absent = about.absent.setdefault(found.role, {})
        for name, reason in found.absent.items():
            absent.setdefault(name, reason)
    if added:
        merged = sorted([*run.samples, *added], key=lambda item: item.t)
        (directory / rundir.SAMPLES).write_bytes(b"".join(map(sample.encode_line, merged)))
        rundir.write_about(directory, about)
        rundir.write_summary(directory, stored.read(directory).summary())
    return problems


def _read(path: Path) -> tuple[WatchedNamespace | None, list[Sample]]:
    try:
        with path.open("rb") as lines:
            found = msgspec.json.decode(lines.readline(), type=WatchedNamespace)
            return found, list(sample.decode_lines(lines))
    except (OSError, msgspec.DecodeError):
        return None, []


def role(_: str, arguments: Sequence[str]) -> int:
    """`watch ROLE FILE PORT …`."""
    name, path, *ports = arguments
    watch(name, Path(path), map(int, ports))
    return 0
