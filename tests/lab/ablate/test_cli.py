"""`lab ablate` as users and programs meet it, with a range so small that it takes seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LAB = [sys.executable, "-W", "error", "-m", "lab"]


def lab(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAB, *arguments], capture_output=True, text=True, check=False, cwd=cwd, timeout=100
    )


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A tuning of which one line does harm, one nothing, and one is the host's."""
    (tmp_path / "small.conf").write_text(
        "net.ipv4.ip_local_port_range = 40000 40099\nnet.core.somaxconn = 4096\n"
        "net.netfilter.nf_conntrack_max = 524288\n"
    )
    return "./small.conf"


@pytest.mark.kernel
def test_the_line_that_matters_is_named(tmp_path: Path, small: str) -> None:
    """100 ports at 300/s for half a second: a third of 150 connections is lost, in every trial."""
    done = lab("ablate", "--after", small, "--rate", "300", "--duration", "500ms", "--trials", "5",
               "--out", "r/a", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 99, done.stderr
    assert "2 arms, 5 trials of 500 ms each" in done.stderr
    found = json.loads((tmp_path / "r/a/ablation.json").read_text())
    assert found["verdict"] == "worse"
    roles = {weight["line"]["key"]: weight["role"] for weight in found["weights"]}
    assert roles == {
        "net.ipv4.ip_local_port_range": "harmful",
        "net.core.somaxconn": "inert",
        "net.netfilter.nf_conntrack_max": "idle",
    }
    assert {arm["name"]: arm["trials"] for arm in found["arms"]} == {"none": 5, "all": 5}
    tracked = next(arm for arm in found["arms"] if arm["name"] == "all")
    assert tracked["entries"] >= 100
    assert tracked["lost"]["median"] == pytest.approx(1 / 3, abs=0.01)
    assert {"index.html", "summary.md", "ablation.svg", "experiment.json", "lines.json"} <= {
        path.name for path in (tmp_path / "r/a").iterdir()
    }
    again = lab("report", "r/a", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "r/a/ablation.json").read_text()) == found
    assert "small" in (tmp_path / "r/index.html").read_text()


@pytest.mark.kernel
def test_a_tuning_that_can_do_nothing_costs_no_trial(tmp_path: Path) -> None:
    (tmp_path / "idle.conf").write_text("vm.swappiness = 1\nnet.core.somaxconn = 4096\n")
    done = lab("ablate", "--after", "./idle.conf", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "vm.swappiness = 1: no part of a network namespace" in done.stdout
    assert "no line of idle can change anything" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["idle.conf"]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing option '--after'"),
        (["--after", "articel"], "did you mean article?"),
        (["--after", "article", "--rate", "max"], "--rate max has no arrivals to drop"),
        (["--after", "article", "--line", "net.x"], "article has no line 'net.x'"),
        (["--after", "./bad.conf"], "bad.conf:1: net.ipv4.tcp_tw_reuze"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "bad.conf").write_text("net.ipv4.tcp_tw_reuze = 1\n")
    done = lab("ablate", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.kernel
def test_an_interrupted_ablation_keeps_what_it_measured(tmp_path: Path, small: str) -> None:
    command = [*LAB, "ablate", "--after", small, "--rate", "200", "--duration", "500ms", "--out",
               "a", "--trials", "50"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        said = ""
        while " ok " not in said:
            said = running.stderr.readline()
            assert said, "it ended before its first trial"
        os.kill(running.pid, signal.SIGINT)
        _, rest = running.communicate(timeout=40)
    assert running.returncode == 130, rest
    assert "Traceback" not in rest
    found = json.loads((tmp_path / "a/ablation.json").read_text())
    assert found["finished"] is False
    assert found["verdict"] == "inconclusive"
