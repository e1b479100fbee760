"""`lab restore` where no engine answers; with one: tests/docker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.testbed.host import journal
from lab.testbed.host.journal import Change, Journal, JournalPlace
from lab.testbed.host.settings import take_lock
from loadgen.fleet.owner import boot_id

KEY = "net.ipv4.ip_local_port_range"


def restore(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    nowhere = {"CHURNLAB_STATE": str(state), "DOCKER_HOST": f"unix://{state}/docker.sock"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "lab", "restore", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **nowhere},
    )


@pytest.fixture
def pending(tmp_path: Path) -> JournalPlace:
    """A journal whose old value is the one in force, so that restoring changes nothing here."""
    place = JournalPlace(tmp_path)
    change = Change(key=KEY, before=place.get(KEY), asked="1024 65535")
    journal.write(place, Journal(boot=boot_id(), pid=1, changes=[change]))
    return place


def test_nothing_to_do_is_no_failure(tmp_path: Path) -> None:
    done = restore(tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "host settings: nothing to restore"
    assert second.startswith(
        "containers: not looked for, since no Docker engine answers at unix://"
    )


def test_a_pending_journal_is_restored_and_gone(pending: JournalPlace) -> None:
    done = restore(pending.folder)
    assert done.returncode == 0, done.stderr
    value = pending.get(KEY)
    assert done.stdout.splitlines()[0] == f"restored: {KEY} = {value} (was {value})"
    assert journal.read(pending) is None


def test_a_running_lab_is_left_to_do_it_itself(pending: JournalPlace) -> None:
    lock = take_lock(pending)
    try:
        done = restore(pending.folder)
    finally:
        os.close(lock)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: another lab (process {os.getpid()}) is changing this host's settings; "
        "wait for its end\n"
    )
    assert journal.read(pending) is not None


def test_a_damaged_journal_is_one_line(tmp_path: Path) -> None:
    for path in JournalPlace(tmp_path).files:
        path.write_text("{")
    done = restore(tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "are damaged" in done.stderr
