"""`lab vm` where no guest is started: every refusal is one line, before anything boots."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.cli.vm import command
from lab.cli.vm_run import _written
from lab.vm import checks, machine
from lab.vm.checks import other_kernels
from lab.vm.names import VmError


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2, done.output
    assert len(done.stderr.strip().splitlines()) == 1 or "Usage:" in done.stderr
    return done.stderr


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("lab.cli.vm_run.check_tools", lambda: None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--", "claims"), "give a kernel: --kernel debian:6.1"),
        (("--kernel", "debian:6.1", "--kernel-deb", "a.deb", "doctor"), "give a kernel"),
        (("--kernel", "debian:old", "doctor"), "write debian:6.1 or debian:newest"),
        (("--kernel", "./none", "doctor"), "--kernel none: No such file or directory; write"),
        (("--kernel-deb", "none.deb", "doctor"), "--kernel-deb none.deb: No such file"),
        (("--kernel-deb", "/dev/full", "doctor"), "it is no regular file"),
        (("--kernel", __file__, "doctor"), "is no x86 kernel image"),
        (("--kernel", "debian:6.1", "--memory", "4", "doctor"), "--memory 4: write a size"),
        (("--kernel", "debian:6.1", "vm"), "lab vm runs no lab vm"),
        (("--kernel", "debian:6.1", "dance"), "no verb 'dance': lab has run, claims"),
        (("--kernel", "debian:6.1", "run", "--trails", "4"), "No such option"),
        (("--kernel", "debian:6.1", "run", "--out", "/run/x"), "a guest has a /run of its own"),
    ],
)
def test_refused_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(*arguments)


def test_what_a_verb_writes_is_read_off_its_own_options() -> None:
    assert list(_written(["claims", "--out", "/a/b", "--json", "/c.json"])) == [
        Path("/c.json"),
        Path("/a/b"),
    ]
    assert list(_written(["plan", "--rate", "5", "--output", "-", "--json", "/d/p.json"])) == [
        Path("/d/p.json")
    ]
    assert list(_written(["run"])) == []


def test_doctor_says_whether_there_can_be_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "check_tools", lambda: None)
    monkeypatch.setattr(checks, "kvm_is_offered", lambda: True)
    assert [row.state for row in other_kernels()] == ["ok", "note"]
    monkeypatch.setattr(checks, "kvm_is_offered", lambda: False)
    assert "ten times slower" in other_kernels()[0].found


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise VmError("file is not installed", "install it with: apt install file")

    monkeypatch.setattr(checks, "check_tools", missing)
    (row,) = other_kernels()
    assert row.state == "limited"
    assert row.found == "file is not installed"
    assert row.remedy == "install it with: apt install file. Only lab vm needs it"


def test_each_missing_tool_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VmError, match="pip install 'churnlab"):
        machine.virtme_run()
