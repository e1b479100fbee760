"""Runs that something ends early: what was measured is kept, and said to be partial."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from loadgen import summary
from loadgen.run import rundir
from loadgen.sample import ROLE_GENERATOR
from tests.loadgen.cli.command import (
    PATIENCE,
    codes,
    gone,
    loadgen,
    start,
    summary_in,
    under_way,
    wait_until,
    workers_of,
)
from tests.loadgen.memcached import Memcached

_PATIENT = ("--max-lateness", "10s")
"""A machine with other work may be late; what these tests are about is something else."""
_LONG = ("--rate", "500", "--duration", "60s", "--workers", "2", "--out", "out", *_PATIENT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_measured(
    memcached: Memcached, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("run", memcached.target, *_LONG, "--json", "-", cwd=tmp_path)
    wait_until(lambda: under_way(tmp_path / "out"), process)
    workers = workers_of(process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, stderr
    assert gone(workers)
    result = summary_in(tmp_path / "out")
    assert (result.validity, codes(result)) == ("partial", {"interrupted"})
    assert result.ok > 0
    assert result.elapsed < 50
    assert (tmp_path / "out" / "summary.json").read_text() == stdout
    assert "Traceback" not in stderr


def test_a_run_that_waits_for_its_start_can_be_interrupted(
    memcached: Memcached, tmp_path: Path
) -> None:
    moment = str(time.time() + 300)
    process = start("run", memcached.target, *_LONG, "--start-at", moment, cwd=tmp_path)
    wait_until(lambda: bool(rundir.read_samples(tmp_path / "out")), process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, stderr
    assert summary_in(tmp_path / "out").scheduled == 0


def test_ctrl_c_while_starting_leaves_no_traceback(memcached: Memcached, tmp_path: Path) -> None:
    process = start("run", memcached.target, *_LONG, cwd=tmp_path)
    wait_until((tmp_path / "out").exists, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in stderr


def test_a_lost_worker_makes_the_run_partial(memcached: Memcached, tmp_path: Path) -> None:
    """The others go on; what the lost one had reported still counts."""
    process = start(
        *("run", memcached.target, "--rate", "500", "--duration", "1s", "--workers", "2"),
        *("--out", "out", *_PATIENT),
        cwd=tmp_path,
    )
    wait_until(lambda: under_way(tmp_path / "out"), process)
    lost, kept = workers_of(process)
    os.kill(lost, signal.SIGKILL)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, stderr
    assert gone([lost, kept])
    result = summary_in(tmp_path / "out")
    assert (result.validity, codes(result)) == ("partial", {"lost_worker"})
    assert 250 <= result.started < 500
    assert "Traceback" not in stderr


def test_workers_end_with_their_coordinator(memcached: Memcached, tmp_path: Path) -> None:
    """`kill -9`: no load goes on behind the user's back, and the files can be read and reported."""
    process = start("run", memcached.target, *_LONG, cwd=tmp_path)
    out = tmp_path / "out"
    wait_until(lambda: under_way(out) and bool(rundir.read_intervals(out)), process)
    workers = workers_of(process)
    assert len(workers) == 2
    process.kill()
    # The workers hold the other end of this pipe: it ends when they have.
    _, stderr = process.communicate(timeout=PATIENCE)
    assert gone(workers)
    assert stderr == ""
    assert not (out / "summary.json").exists()
    samples = [item for item in rundir.read_samples(out) if item.role == ROLE_GENERATOR]
    assert samples[-1].values["generator_ok"] > 0
    assert {interval.tag for interval in rundir.read_intervals(out)} >= {"total", "lateness"}
    done = loadgen("report", "out", "--json", "-", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    result = summary.decode(done.stdout.encode())
    assert result.unaccounted() == 0
    assert (result.validity, codes(result)) == ("partial", {"truncated"})
    assert result.ok == samples[-1].values["generator_ok"]
