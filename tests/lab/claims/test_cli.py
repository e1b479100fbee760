"""`lab claims` as users and programs meet it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.claims.catalogue import ENTRIES

LAB = [sys.executable, "-W", "error", "-m", "lab", "claims"]


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LAB, *arguments], capture_output=True, text=True, check=False)


def test_the_list_names_every_claim_and_tests_nothing() -> None:
    done = lab("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [e.name for e in ENTRIES]


def test_a_wrong_name_is_one_line_and_exit_code_2() -> None:
    done = lab("--only", "handshake")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: no claim 'handshake': did you mean handshake-order? "
        "`lab claims --list` names them all\n"
    )


@pytest.mark.kernel
def test_json_on_stdout_is_json_alone_and_a_refuted_claim_is_no_failure() -> None:
    done = lab("--only", "default-port-range", "--only", "number-of-ports", "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "churnlab.claims/1"
    assert found["kernel"] == os.uname().release
    verdicts: dict[str, Any] = {claim["name"]: claim["verdict"] for claim in found["claims"]}
    assert verdicts == {"default-port-range": "refuted", "number-of-ports": "conditional"}
    assert "2 claims, 2 experiments" in done.stderr
    assert "default-port-range" in done.stderr


@pytest.mark.kernel
def test_the_directory_gets_page_and_json(tmp_path: Path) -> None:
    out = tmp_path / "new" / "place"
    done = lab("--only", "wide-range-is-safe", "--out", str(out), "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "wide-range-is-safe" in done.stdout
    assert {path.name for path in out.iterdir()} == {"claims.json", "claims.md"}
    assert (out / "claims.md").read_text().startswith("# The article on trial\n")


@pytest.mark.kernel
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "x.json"
    done = lab("--only", "default-port-range", "--json", str(missing), "--quiet")
    assert done.returncode == 2
    assert done.stderr == f"error: cannot write {missing}: there is no directory {missing.parent}\n"


@pytest.mark.kernel
def test_an_interrupted_run_keeps_what_was_decided(tmp_path: Path) -> None:
    """Ctrl-C in the minute of waiting: the port range is decided, TIME_WAIT is not."""
    file = tmp_path / "claims.json"
    with subprocess.Popen(
        [*LAB, "--only", "time-wait-60s", "--only", "default-port-range", "--json", str(file)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "port-defaults" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=20) == 130, rest
    found = json.loads(file.read_text())
    assert found["finished"] is False
    assert [claim["name"] for claim in found["claims"]] == ["default-port-range"]


@pytest.mark.kernel
def test_interrupted_before_anything_was_decided_there_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "claims.json"
    with subprocess.Popen(
        [*LAB, "--only", "time-wait-60s", "--json", str(file)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "1 claim, 1 experiment" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=20) == 130, rest
    assert "error: interrupted before the first experiment ended" in rest
    assert not file.exists()
