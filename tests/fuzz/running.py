"""Starts `python -m tests.fuzz`, whose process confines itself, and takes what it found."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from tests.fuzz.attempt import Fault

ROOT: Final = Path(__file__).parents[2]


class Found(msgspec.Struct, frozen=True):
    """What a process has to tell of its lines."""

    lines: int
    megabytes: float
    """The most that it held."""
    faults: list[Fault]


def run(*, seed: int, first: int, count: int) -> Found:
    """Carry out lines `first` to `first + count` of a seed.

    Raises:
        RuntimeError: with what the process said, when it did not come to its end.
    """
    with tempfile.TemporaryDirectory() as within:
        words = [
            "--within",
            within,
            "--seed",
            str(seed),
            "--first",
            str(first),
            "--count",
            str(count),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(
            f"lines {first} and on of seed {seed}: {done.returncode}: {done.stderr[-2000:]}"
        )
    return msgspec.json.decode(done.stdout, type=Found)
