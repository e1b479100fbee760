"""What the doctor makes of what it finds, and a visit to the machine at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from lab.doctor import checks
from lab.doctor.probe import Probed, tracked, tracks
from lab.doctor.records import Check, Diagnosis
from lab.testbed.host import journal
from lab.testbed.host.journal import Change, Journal, JournalPlace
from loadgen.fleet.owner import boot_id
from loadgen.sampling.namespace import new_namespace, run_inside

FINE = Probed(
    namespaces="",
    netem="",
    conntrack="",
    local_port_range="",
    bind_no_port="",
    sock_diag="",
    tw_reuse="",
    tw_reuse_delay="",
)


def row(rows: list[Check], name: str) -> Check:
    return next(check for check in rows if check.name == name)


def test_a_machine_that_can_do_everything_needs_no_remedy() -> None:
    rows = [*checks.namespaces(FINE), *checks.kernel(FINE)]
    assert {check.state for check in rows} == {"ok"}
    assert not any(check.remedy for check in rows)


def test_without_namespaces_the_reason_and_its_remedy_are_told_apart() -> None:
    problem = "making namespaces needs root: user.max_user_namespaces=0 forbids it"
    rows = checks.namespaces(Probed(namespaces=problem, remedy="run as root; or ask"))
    (trials,) = rows
    assert trials.state == "missing"
    assert trials.remedy == "run as root; or ask"
    assert trials.found == problem
    assert checks.kernel(Probed(namespaces=problem)) == []  # not tried: nothing to say


def test_what_the_lab_can_do_without_is_limited_and_says_how_to_get_it() -> None:
    probed = msgspec.structs.replace(
        FINE, netem="no", tw_reuse_delay="no such sysctl", as_user=True
    )
    rows = [*checks.namespaces(probed), *checks.kernel(probed)]
    assert row(rows, "netem").state == "limited"
    assert "sch_netem" in row(rows, "netem").remedy
    assert "6.14" in row(rows, "tcp_tw_reuse_delay").remedy
    assert "ordinary user" in row(rows, "trials").found


def test_a_pending_journal_is_shown_with_the_old_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHURNLAB_STATE", str(tmp_path))
    assert checks.host_settings()[0].state == "ok"
    change = Change(key="net.netfilter.nf_conntrack_max", before="262144", asked="9")
    journal.write(JournalPlace(), Journal(boot=boot_id(), pid=7, changes=[change]))
    (pending,) = checks.host_settings()
    assert pending.state == "limited"
    assert "process 7" in pending.found
    assert "net.netfilter.nf_conntrack_max was 262144" in pending.found
    assert pending.remedy.endswith("lab restore")
    for path in JournalPlace().files:
        path.write_text("{")
    assert checks.host_settings()[0].state == "missing"


def test_few_open_files_are_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "most_connections", lambda: 900)
    monkeypatch.setattr(checks, "usable_cpus", lambda: 1)
    rows = checks.machine()
    assert [check.state for check in rows] == ["limited", "limited"]
    assert "ulimit" in row(rows, "open files").remedy


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("lab.testbed.processes._SYSTEM_PATH", "")
    assert row(checks.programs(), "nft").remedy == "install it with: apt install nftables"


def test_conntrack_is_described_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, said in ((None, "not loaded"), (0, "idle"), (8, "active")):
        monkeypatch.setattr(checks, "tracked", lambda found=found: found)
        assert said in row(checks.conntrack(), "conntrack here").found


@pytest.mark.kernel
def test_a_fresh_namespace_without_rules_tracks_nothing() -> None:
    namespace = new_namespace()
    try:
        subprocess.run(
            ["nsenter", f"--net=/proc/self/fd/{namespace}", "ip", "link", "set", "lo", "up"],
            pass_fds=(namespace,),
            check=True,
        )
        assert not tracks(run_inside(namespace, tracked))
    finally:
        os.close(namespace)


def test_a_probe_that_says_nothing_is_a_row_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "_PROBE_WITHIN", 0.001)
    probed = checks._probed()
    assert "said nothing within" in probed.namespaces
    assert probed.remedy


@pytest.mark.kernel
def test_a_visit_to_this_machine(tmp_path: Path) -> None:
    """Everything that the suite itself needs is found, and no engine where there is none."""
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "CHURNLAB_STATE": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-m", "lab", "doctor", "--json", "-"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **nowhere}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    diagnosis = msgspec.json.decode(done.stdout, type=Diagnosis)
    assert diagnosis.testbeds == {"netns": True, "docker": False}
    found = {check.name: check for check in diagnosis.checks}
    assert found["trials"].state == "ok"
    assert found["memcached"].state == "ok"
    assert found["engine"].state == "missing"
    assert "no Docker engine answers" in found["engine"].found
    assert found["conntrack"].state in {"ok", "limited"}


@pytest.mark.kernel
def test_a_machine_where_nothing_works_is_exit_code_99(tmp_path: Path) -> None:
    """Neither namespaces, in a user namespace that may have none, nor an engine."""
    program = 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all "$@"'
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "CHURNLAB_STATE": str(tmp_path)}
    out = tmp_path / "found.json"
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--", "sh", "-c", program, "sh"),
            *(sys.executable, "-m", "lab", "doctor", "--json", str(out)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **nowhere},
    )
    assert done.returncode == 99, done.stderr
    assert done.stdout.endswith("lab run works here with: no testbed\n")
    assert "MISSING" in done.stdout
    assert not msgspec.json.decode(out.read_bytes(), type=Diagnosis).testbeds["netns"]
