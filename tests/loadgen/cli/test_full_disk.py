"""A disk that fills up while a run goes on, in a mount namespace of its own; docs/reliability.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from loadgen.run import rundir, stored
from loadgen.summary import decode
from tests.loadgen.disk import on_a_disk_of
from tests.loadgen.memcached import Memcached
from tests.loadgen.synthetic import Plan, write_run

pytestmark = pytest.mark.kernel


FILES = {rundir.RUN, rundir.SAMPLES, rundir.HISTOGRAMS, rundir.SUMMARY, "index.html"}
GROWING = {rundir.SAMPLES, rundir.HISTOGRAMS}


@pytest.mark.parametrize("size", [4, 24, 48, 96])
def test_the_file_is_named_and_what_was_measured_is_told(
    size: int, memcached: Memcached, tmp_path: Path
) -> None:
    """Of 4 KiB there is not even room for run.json; of 96 for all but the page."""
    disk = tmp_path / "disk"
    done = on_a_disk_of(
        size << 10,
        disk,
        *(sys.executable, "-m", "loadgen", "run", memcached.target),
        *("--rate", "200", "--duration", "1s", "--json", str(tmp_path / "summary.json")),
        *("--workers", "1", "--out", str(disk / "run")),
    )
    assert done.returncode == 3, done.stderr
    line = done.stderr.splitlines()[-1]
    told = re.fullmatch(
        r"error: cannot write (\S+): No space left on device, .+ left; make room, or write elsewhere",
        line,
    )
    assert told is not None, line
    assert Path(told[1]).parent == disk / "run"
    kept = tmp_path / "kept" / "run"
    # No half page, and no temporary file.
    assert {path.name for path in kept.iterdir()} <= FILES - {Path(told[1]).name} | GROWING | {
        "run.json"
    }
    if size == 4:
        assert told[1].endswith("/run.json")
        return
    summary = decode((tmp_path / "summary.json").read_bytes())
    assert summary.ok > 0
    assert summary.unaccounted() == 0
    found = stored.salvage(kept)
    assert found.about is not None
    assert found.summary.unaccounted() == 0
    assert (kept / rundir.SAMPLES).read_bytes().endswith(b"\n")


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_a_full_standard_output_is_one_line(option: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", Plan(rate=500, duration=1.0, collapse=False), seed=1)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "loadgen", "report", str(tmp_path / "run"), option, "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: cannot write standard output: No space left on device")


def test_a_result_replaces_what_was_there_or_leaves_it(tmp_path: Path) -> None:
    """A limit of the process stands in for the disk: the old page is whole."""
    path = tmp_path / "page.html"
    path.write_bytes(b"old")
    script = (
        "import resource, sys; from loadgen.files import *; from pathlib import Path;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "write_result(sys.argv[1], bytes(5000))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert "NoRoomError" in done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
