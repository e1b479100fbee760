"""A disk that fills up during an experiment: what the trials before said is shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.loadgen.disk import on_a_disk_of


@pytest.mark.kernel
def test_the_trials_that_found_room_are_told_of(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    done = on_a_disk_of(
        160 << 10,
        disk,
        *(sys.executable, "-m", "lab", "run", "--rate", "200", "--duration", "1s", "--trials", "1"),
        *("--quiet", "--out", str(disk / "run")),
    )
    assert done.returncode == 3, done.stderr
    assert "There is no complete trial of" in done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: cannot write {disk}/run/")
    assert ": No space left on device, " in line
