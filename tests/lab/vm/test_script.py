"""The guest's script, run by this machine's shell with stand-ins for what would change it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from lab.vm.script import script

STAND_INS = ("modprobe", "ip", "poweroff", "sync")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The directory that host and guest share."""
    made = tmp_path / "a job"
    made.mkdir()
    for name in ("host", "beat", "stdout", "stderr"):
        (made / name).touch()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in STAND_INS:
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{tmp_path}/called"\n')
        (programs / name).chmod(0o755)
    return made


def start(job: Path, *command: str, directory: Path | None = None) -> subprocess.Popen[bytes]:
    text = script(
        job=job,
        directory=directory or job.parent,
        command=command,
        environment={"TOLD": "it's a 'word'"},
        modules=("nf_conntrack",),
    )
    path = os.pathsep.join((str(job.parent / "bin"), os.environ["PATH"]))
    return subprocess.Popen(
        ["sh", "-c", text], env={**os.environ, "PATH": path}, process_group=0,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    # What beats ends with the guest; here there is none.
    subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=False)


def test_a_verb_runs_where_it_should_and_leaves_its_code(job: Path) -> None:
    before = (job / "beat").stat().st_mtime_ns
    end(start(job, "sh", "-c", 'pwd; echo "$TOLD" >&2; exit 99'))
    assert (job / "stdout").read_text() == f"{job.parent}\n"
    assert (job / "stderr").read_text() == "it's a 'word'\n"
    assert (job / "code").read_text() == "99\n"
    assert (job / "up").exists()
    assert (job / "beat").stat().st_mtime_ns > before
    assert (job.parent / "called").read_text().splitlines()[0] == "modprobe -aq nf_conntrack"


def test_stop_interrupts_the_verb_and_its_code_is_still_left(job: Path) -> None:
    process = start(job, "python3", "-c", INTERRUPTIBLE)
    end_at = time.monotonic() + 20
    while not (job / "stdout").read_text():
        assert time.monotonic() < end_at
        time.sleep(0.05)
    (job / "stop").touch()
    end(process)
    assert (job / "stdout").read_text() == "ready\ninterrupted\n"
    assert (job / "code").read_text() == "130\n"


INTERRUPTIBLE = """
import sys, time
print("ready", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def test_nothing_runs_in_the_wrong_directory(job: Path) -> None:
    end(start(job, "true", directory=job / "missing"))
    assert not (job / "up").exists()
    assert not (job / "code").exists()
