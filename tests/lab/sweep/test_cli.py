"""`lab sweep` as users and programs meet it, with ranges so small that it takes seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.sweep.cases import CASES

LAB = [sys.executable, "-W", "error", "-m", "lab", "sweep"]


def lab(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAB, *arguments], capture_output=True, text=True, check=False, cwd=cwd, timeout=100
    )


def test_the_list_names_every_situation_and_measures_nothing(tmp_path: Path) -> None:
    done = lab("--validate", "--list", cwd=tmp_path)
    assert done.returncode == 0
    assert [line[:22].strip() for line in done.stdout.splitlines()] == [c.name for c in CASES]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--validate", "--only", "port"], "no situation 'port': did you mean 'ports'?"),
        (["--validate", "--tuning", "article"], "omit --tuning"),
        (["--tuning", "articel"], "did you mean article?"),
        (["--precision", "0"], "a precision is between 0.5% and 50%"),
        (["--precision", "x"], "'x' is not a share"),
        (["--confirm", "0"], "0 is not in the range"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = lab(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.kernel
def test_predictions_are_measured_printed_and_kept(tmp_path: Path) -> None:
    done = lab("--validate", "--only", "ports", "--only", "socket option", "--out", "r/v",
               "--json", "-", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "churnlab.validation/1"
    assert [(c["name"], c["predicted"], c["measured"]) for c in found["checks"]] == [
        ("ports", 1000, 1000),
        ("socket option", 600, 600),
    ]
    assert json.loads((tmp_path / "r/v/validation.json").read_text()) == found
    assert {path.name for path in (tmp_path / "r/v").iterdir()} == {
        "index.html", "summary.md", "validation.json", "validation.svg", "sheet.json", "trials",
    }  # fmt: skip
    assert (
        "validation" in (tmp_path / "r/index.html").read_text()
        or "As predicted" in (tmp_path / "r/index.html").read_text()
    )


@pytest.mark.kernel
def test_a_capacity_is_bracketed_around_its_prediction(tmp_path: Path) -> None:
    """200 ports without reuse hold 400 connections a second for half a second."""
    (tmp_path / "small.conf").write_text(
        "net.ipv4.ip_local_port_range = 40000 40199\nnet.ipv4.tcp_tw_reuse = 0\nvm.swappiness = 1\n"
    )
    done = lab("--tuning", "./small.conf", "--duration", "500ms", "--confirm", "1", "--precision",
               "20%", "--out", "r/s", "--quiet", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads((tmp_path / "r/s/sweep.json").read_text())
    assert found["finished"]
    (capacity,) = found["capacities"]
    assert capacity["predicted"] == pytest.approx(400)
    assert capacity["low"] <= 401
    assert capacity["high"] >= 399
    assert capacity["clean"] >= 1
    assert any("vm.swappiness" in line for line in capacity["skipped"])
    assert all((tmp_path / "r/s" / p["directory"]).is_dir() for p in capacity["probes"])
    again = lab("--tuning", "./small.conf", "--out", "r/s", cwd=tmp_path)
    assert again.returncode == 2
    assert "holds trials already; give another --out" in again.stderr


@pytest.mark.kernel
def test_an_interrupted_validation_keeps_what_it_measured(tmp_path: Path) -> None:
    command = [*LAB, "--validate", "--only", "ports", "--only", "reuse", "--out", "v"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        os.kill(running.pid, signal.SIGINT)
        _, rest = running.communicate(timeout=40)
    assert first.startswith("ports "), first
    assert running.returncode == 130, rest
    assert "Traceback" not in rest
    found = json.loads((tmp_path / "v/validation.json").read_text())
    assert [check["name"] for check in found["checks"]] == ["ports"]
