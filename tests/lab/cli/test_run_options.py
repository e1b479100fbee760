"""Options of `lab run` that are refused before anything runs, each with one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.analysis.store import load


def lab(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    nowhere = {"DOCKER_HOST": f"unix://{cwd}/docker.sock", "CHURNLAB_STATE": str(cwd / "state")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "lab", "run", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **nowhere},
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fault", "explode server-1 at 2s"], "'explode' is not one of kill, restart, pause"),
        (["--fault", "kill server-2 at 2s"], "the site has only server-1; raise --servers"),
        (["--fault", "kill server-1 at 9s"], "a trial is over after 5 s; raise --duration"),
        (["--fault", "resume server-1 at 2s"], "nothing to resume; add an earlier 'pause server-1"),
        (["--testbed", "docker"], "no Docker engine answers at unix://"),
        (["--testbed", "docker", "--rtt", "1ms"], "use --testbed netns"),
        (["--testbed", "swarm"], "no Docker engine answers at unix://"),
        (["--testbed", "swarm", "--clients", "2"], "has one address on a swarm; add nodes, or"),
        (["--testbed", "swarm", "--fault", "kill server-1 at 1s"], "--fault is for one machine"),
        (["--testbed", "swarm", "--allow-host-sysctls"], "--allow-host-sysctls is for one machine"),
        (["--testbed", "docker", "--servers", "201"], "at most 200, or use --testbed netns"),
    ],
)
def test_it_is_one_line_and_exit_code_2(options: list[str], said: str, tmp_path: Path) -> None:
    done = lab(*options, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not (tmp_path / "reports").exists()


@pytest.mark.kernel
def test_a_fault_is_carried_out_in_every_trial_and_on_record(tmp_path: Path) -> None:
    done = lab(
        *("--rate", "200", "--duration", "1s", "--trials", "1", "--timeout", "1s"),
        *("--max-lateness", "5s", "--fault", "kill server-1 at 500ms", "--out", "report"),
        cwd=tmp_path,
    )
    assert done.returncode == 3, done.stderr  # inconclusive: one trial proves nothing
    experiment = json.loads((tmp_path / "report/experiment.json").read_text())
    assert experiment["config"]["faults"] == ["kill server-1 at 0.5s"]
    for trial in load(tmp_path / "report").trials:
        (fault,) = trial.trial.faults
        assert fault.fault == "kill server-1 at 0.5s"
        assert fault.at is not None
        assert trial.summary is not None
        assert trial.summary.outcomes["connect_refused"] > 0


@pytest.mark.kernel
def test_lines_of_the_host_are_left_out_unless_allowed(tmp_path: Path) -> None:
    conntrack = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    if not conntrack.exists():
        pytest.skip("conntrack is not loaded here")
    value = conntrack.read_text().strip()
    host, own = f"net.netfilter.nf_conntrack_max = {int(value) + 1}", "net.ipv4.tcp_tw_reuse = 1"
    (tmp_path / "more.conf").write_text(f"{host}\n{own}\n")
    options = ["--after", "./more.conf", "--rate", "100", "--duration", "200ms", "--trials", "1"]
    done = lab(*options, "--out", "report", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "the lab changes the host with --allow-host-sysctls only" in " ".join(
        done.stdout.split()
    )
    assert conntrack.read_text().strip() == value
