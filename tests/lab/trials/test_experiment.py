"""The whole path at a size of seconds: tunings, sites, runs, comparison, verdict, reports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.analysis.store import load
from lab.trials.plan import order
from loadgen.summary import decode

_BEFORE = "net.ipv4.ip_local_port_range = 20000 20199\nnet.ipv4.tcp_tw_reuse = 0\n"
_PATIENT = ("--max-lateness", "5s")
"""A machine that pauses for a second is no generator too slow for 300 connections a second."""
_AFTER = "net.ipv4.ip_local_port_range = 20000 21999\nnet.ipv4.tcp_tw_reuse = 1\n"


def test_arms_take_turns_in_going_first() -> None:
    assert order(["before", "after"], 3) == [
        ("before", 1),
        ("after", 1),
        ("after", 2),
        ("before", 2),
        ("before", 3),
        ("after", 3),
    ]


def _lab(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def tunings(tmp_path: Path) -> tuple[str, str]:
    for name, text in (("before", _BEFORE), ("after", _AFTER)):
        (tmp_path / f"{name}.conf").write_text(text)
    return "./before.conf", "./after.conf"


@pytest.mark.kernel
def test_a_tuning_that_prevents_exhaustion_is_seen_to(
    tmp_path: Path, tunings: tuple[str, str]
) -> None:
    """200 ports at 300/s run out in the first arm, after exactly 200 connections; not in the second."""
    before, after = tunings
    options = [*_PATIENT, "--rate", "300", "--duration", "1.5s", "--trials", "4", "--out", "report"]
    done = _lab("run", "--before", before, "--after", after, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "report: report/index.html"
    comparison = json.loads((tmp_path / "report/comparison.json").read_text())
    assert comparison["verdict"] == "prevents"
    assert comparison["sentence"] in " ".join((tmp_path / "report/summary.md").read_text().split())
    for name in ("index.html", "junit.xml"):
        assert (tmp_path / "report" / name).stat().st_size > 0
    stored = load(tmp_path / "report")
    assert stored.missing == []
    used = [trial for trial in stored.trials if trial.trial.used]
    assert len(used) == 8
    for trial in used:
        assert trial.summary is not None
        assert trial.summary.unaccounted() == 0
        if trial.trial.arm == "before":
            assert trial.summary.ok == 200
            assert trial.summary.causes[0].cause == "ephemeral_ports_exhausted"
            assert trial.trial.sysctls["client"]["net.ipv4.tcp_tw_reuse"] == "0"
        else:
            assert (trial.summary.ok, trial.summary.failed) == (450, 0)
            assert trial.trial.sysctls["client"]["net.ipv4.tcp_tw_reuse"] == "1"
    again = _lab("report", "report", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    rebuilt = json.loads((tmp_path / "report/comparison.json").read_text())
    assert rebuilt == comparison


@pytest.mark.kernel
def test_the_same_tuning_twice_has_no_effect(tmp_path: Path, tunings: tuple[str, str]) -> None:
    before, _ = tunings
    options = [*_PATIENT, "--rate", "300", "--duration", "1s", "--trials", "4", "--out", "report"]
    done = _lab("run", "--before", before, "--after", before, *options, cwd=tmp_path)
    assert done.returncode == 99, done.stderr
    assert json.loads((tmp_path / "report/comparison.json").read_text())["verdict"] == "no_effect"


@pytest.mark.kernel
def test_a_tuning_that_gives_up_time_wait_hides_the_failures(
    tmp_path: Path, tunings: tuple[str, str]
) -> None:
    """The same few ports, and none of them ever held: nothing fails, and nothing is prevented."""
    before, _ = tunings
    (tmp_path / "hide.conf").write_text(
        (tmp_path / before).read_text() + "net.ipv4.tcp_max_tw_buckets = 50\n"
    )
    options = [*_PATIENT, "--rate", "300", "--duration", "1s", "--trials", "4", "--out", "report"]
    done = _lab("run", "--before", before, "--after", "./hide.conf", *options, cwd=tmp_path)
    assert done.returncode == 99, done.stderr
    found = json.loads((tmp_path / "report/comparison.json").read_text())
    assert found["verdict"] == "hides"
    assert "TCPTimeWaitOverflow" in found["sentence"]
    assert "does not prevent" in done.stdout


@pytest.mark.kernel
def test_a_load_that_reaches_nothing_shows_nothing(
    tmp_path: Path, tunings: tuple[str, str]
) -> None:
    before, after = tunings
    options = [*_PATIENT, "--rate", "100", "--duration", "1s", "--trials", "4", "--out", "report"]
    done = _lab("run", "--before", before, "--after", after, *options, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    found = json.loads((tmp_path / "report/comparison.json").read_text())
    assert found["verdict"] == "not_exercised"


@pytest.mark.kernel
def test_several_servers_and_client_addresses(tmp_path: Path, tunings: tuple[str, str]) -> None:
    """Each pair of addresses has a pool of ports of its own: 4 times 200 hold 400 connections."""
    before, after = tunings
    options = [*_PATIENT, "--rate", "400", "--duration", "1s", "--trials", "1", "--out", "report"]
    options += ["--servers", "2", "--clients", "2"]
    done = _lab("run", "--before", before, "--after", after, *options, cwd=tmp_path)
    assert done.returncode == 3, done.stderr  # inconclusive: one trial proves nothing
    for trial in load(tmp_path / "report").trials:
        assert trial.summary is not None
        assert trial.summary.ok == 400
        assert len(trial.summary.config.addresses) == 2
        assert len(trial.summary.config.source_addresses) == 2


@pytest.mark.kernel
def test_an_interrupted_experiment_keeps_what_it_measured(
    tmp_path: Path, tunings: tuple[str, str]
) -> None:
    before, after = tunings
    command = [sys.executable, "-m", "lab", "run", "--before", before, "--after", after]
    command += ["--rate", "200", "--duration", "1s", "--trials", "50", "--out", "report"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 30
        while not any(tmp_path.glob("report/trials/*/summary.json")):
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "lab report report" in said.splitlines()[-1]
    assert "Traceback" not in said
    again = _lab("report", "report", cwd=tmp_path)
    assert again.returncode == 3, again.stderr  # inconclusive: far too few trials
    summary = next(tmp_path.glob("report/trials/*/summary.json"))
    assert decode(summary.read_bytes()).unaccounted() == 0


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("text", "offender"),
    [
        ("net.ipv4.tcp_tw_reuse = 7\n", "after arm"),
        ("net.ipv4.no_such_key = 1\n", "net.ipv4.no_such_key"),
        ("no equals sign\n", "bad.conf:1"),
        ("net.ipv4.tcp_*_reuse = 0\n", "bad.conf:1"),
    ],
)
def test_a_line_that_cannot_hold_is_one_line_of_error(
    tmp_path: Path, text: str, offender: str
) -> None:
    """It names the arm or the line, before anything was measured."""
    (tmp_path / "bad.conf").write_text(text)
    done = _lab("run", "--after", "./bad.conf", "--rate", "100", "--out", "report", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert offender in done.stderr
    assert not list(tmp_path.glob("report/trials/*"))


def test_a_missing_tuning_is_one_line_that_lists_the_built_in_ones(tmp_path: Path) -> None:
    done = _lab("run", "--after", "articel", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "article" in done.stderr


def test_the_built_in_tunings_are_listed_and_shown(tmp_path: Path) -> None:
    listed = _lab("tunings", cwd=tmp_path)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [
        "kernel-default",
        "article-before",
        "article",
        "recommended",
    ]
    shown = _lab("tunings", "show", "article", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "net.ipv4.netfilter.ip_conntrack_max" in shown.stdout


@pytest.mark.kernel
def test_a_file_that_changes_nothing_is_said_before_the_first_trial(
    tmp_path: Path, tunings: tuple[str, str]
) -> None:
    (tmp_path / "none.conf").write_text("vm.swappiness = 11\nnet.core.somaxconn = 4096\n")
    done = _lab("run", "--after", "./none.conf", "--out", "report", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ./none.conf changes nothing that decides connects")
    assert "vm.swappiness: line 1" in line
    assert not list(tmp_path.glob("report/trials/*"))
