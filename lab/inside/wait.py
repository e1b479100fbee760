"""Waits for a moment of a run, on the clock of the machine where the run is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from loadgen.rundir import read_run


def wait(directory: Path, at: float) -> float:
    """Return at second `at` of the run that writes to `directory`; the run's clock by then."""
    while not isinstance(origin := (read_run(directory) or {}).get("origin"), float):
        time.sleep(0.02)
    time.sleep(max(0.0, origin + at - time.monotonic()))
    return time.monotonic() - origin


def role(_: str, arguments: Sequence[str]) -> int:
    """`wait DIRECTORY AT`: print what the run's clock shows then."""
    directory, at = arguments
    print(f"{wait(Path(directory), float(at)):.6f}", flush=True)
    return 0
