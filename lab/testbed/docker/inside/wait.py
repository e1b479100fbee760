"""Waits for a moment of a run, on the clock of the machine where the run is.

It runs beside a measurement, so it imports next to nothing: 20 ms of CPU instead of 200.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path


def _origin(about: Path) -> float | None:
    """Return time 0 of the run that `run.json` describes; None until it is fixed."""
    try:
        origin = json.loads(about.read_bytes()).get("origin")
    except (OSError, ValueError):
        return None
    return origin if isinstance(origin, float) else None


def wait(about: Path, at: float) -> float:
    """Return at second `at` of the run with this `run.json`; what the run's clock shows by then."""
    while (origin := _origin(about)) is None:
        time.sleep(0.02)
    time.sleep(max(0.0, origin + at - time.monotonic()))
    return time.monotonic() - origin


def role(_: str, arguments: Sequence[str]) -> int:
    """`wait FILE AT`: print what the run's clock shows then."""
    about, at = arguments
    print(f"{wait(Path(about), float(at)):.6f}", flush=True)
    return 0
