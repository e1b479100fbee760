"""Runs the `loadgen` command as a user would, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from loadgen.run import rundir
from loadgen.sample import ROLE_GENERATOR
from loadgen.summary import Summary

PATIENCE = 30.0
_COMMAND = (sys.executable, "-m", "loadgen")


def loadgen(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; fail when it hangs."""
    return subprocess.run(
        [*_COMMAND, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **options,
    )


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start the command and let it run."""
    return subprocess.Popen(
        [*_COMMAND, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until `what` holds; fail when the process ends before, or patience does."""
    give_up = time.monotonic() + PATIENCE
    while not what():
        if process.poll() is not None or time.monotonic() > give_up:
            process.kill()
            raise AssertionError(f"not in time: {process.communicate()}")
        time.sleep(0.02)  # between two looks; the loop ends on what is seen


def under_way(directory: Path) -> bool:
    """Return whether a run has reported started attempts."""
    return any(
        item.role == ROLE_GENERATOR and item.values["generator_started"] > 0
        for item in rundir.read_samples(directory)
    )


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the ids of the child processes."""
    found: list[int] = []
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(FileNotFoundError):
            found += map(int, (task / "children").read_text().split())
    return [pid for pid in found if b"loadgen.engine.worker" in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def gone(pids: list[int]) -> bool:
    """Return whether none of these is a worker any more."""
    return not any(b"loadgen.engine.worker" in _command_line(pid) for pid in pids)


def summary_in(directory: Path) -> Summary:
    """Return the summary of a run, whose equations must hold."""
    found = rundir.read_summary(directory)
    assert found is not None
    assert found.unaccounted() == 0
    return found


def codes(summary: Summary) -> set[str]:
    """Return the codes of a summary's warnings, without the one that loopback always has."""
    return {warning.code for warning in summary.warnings} - {"loopback"}
