"""Where the kernel forbids things: what works, works, and the rest says what it would need.

The filters are those of containers, set here without one; in a real one: tests/docker/test_unprivileged.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from loadgen.run import rundir
from tests.loadgen.memcached import Memcached

ROOT: Final = Path(__file__).parents[2]
LABS: Final = [
    ("run", "--rate", "100", "--duration", "1s", "--trials", "1"),
    ("claims",),
    ("sweep", "--tuning", "article"),
    ("sweep", "--validate"),
    ("ablate", "--after", "article"),
]
"""What needs namespaces of its own."""


def forbidden(what: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of ours under a filter, to its end."""
    module, *arguments = words
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        [sys.executable, "-m", "tests.unprivileged.filtered", what, *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CHURNLAB_STATE": str(cwd / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("words", LABS, ids=" ".join)
@pytest.mark.parametrize("who", ["root,unshare,setns", "unshare,setns"])
def test_a_lab_without_namespaces_says_what_it_needs(
    words: tuple[str, ...], who: str, tmp_path: Path
) -> None:
    """An ordinary user, and root in a container."""
    done = forbidden(who, "lab", *words, cwd=tmp_path)
    assert done.returncode == 2
    line = one_line(done)
    assert "network namespace" in line
    assert "a seccomp filter" in line
    assert "run the container with --privileged, or on the host" in line


@pytest.mark.kernel
def test_the_setting_that_turns_user_namespaces_off_is_named(tmp_path: Path) -> None:
    """In a user namespace of the test's own, whose limit is its own too (user_namespaces(7))."""
    off = "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all"
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            f"{off} {sys.executable} -m lab claims",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    line = one_line(done)
    assert "user.max_user_namespaces=0 forbids it here; run as root, or let the admin" in line


@pytest.mark.kernel
def test_a_read_only_proc_sys_is_named(tmp_path: Path) -> None:
    """As in a container that may make namespaces all the same."""
    read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
    load = "--rate 100 --duration 1s --trials 1 --quiet --out report"
    for words, code, told in (
        ("doctor", 99, "cannot be written here (Read-only file system)"),
        (f"run {load}", 2, "net.ipv4.tcp_tw_reuse: may not be written: Read-only file system; run"),
        ("claims --only reuse-recycles --quiet", 0, "may not be written: Read-only file system"),
    ):
        done = subprocess.run(
            [
                "unshare",
                "--mount",
                "sh",
                "-c",
                f"{read_only} && exec {sys.executable} -m lab {words}",
            ],
            cwd=tmp_path,
            env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert told in " ".join((done.stdout + done.stderr).split())


def test_the_doctor_says_so_too_and_what_needs_no_rights_works(tmp_path: Path) -> None:
    everything = "root,unshare,setns,netlink"
    doctor = forbidden(everything, "lab", "doctor", cwd=tmp_path)
    assert (doctor.returncode, doctor.stderr) in {(99, ""), (0, "")}  # 0 where an engine answers
    assert "a seccomp filter forbids it here" in " ".join(doctor.stdout.split())
    for words in (("plan", "--rate", "400"), ("tunings", "show", "article")):
        done = forbidden(everything, "lab", *words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_run_without_netlink_is_valid_and_names_what_was_not_read(
    tmp_path: Path,
) -> None:
    options = ("--rate", "200", "--duration", "0.5s", "--max-lateness", "10s", "--out", "run")
    with Memcached() as server:
        words = ("loadgen", "run", server.target, *options)
        done = forbidden("root,unshare,setns,netlink", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = rundir.read_summary(tmp_path / "run")
    assert summary is not None
    assert (summary.ok, summary.unaccounted()) == (100, 0)
    about = rundir.read_run(tmp_path / "run")
    assert about is not None
    absent = about["absent"]["client"]
    for metric in ("ephemeral_ports_in_use", "listen_queue"):
        assert absent[metric] == "NETLINK_SOCK_DIAG: Address family not supported by protocol"


def test_watch_shows_no_ports_that_it_cannot_count(tmp_path: Path) -> None:
    """None counted is not none in use."""
    done = forbidden("root,netlink", "loadgen", "watch", "--once", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(
        "note: ports in use, and who holds them, are not counted: NETLINK"
    )
    assert len(done.stderr.splitlines()) == 1
    assert "ephemeral_ports_in_use" not in done.stdout
    assert "TIME_WAIT sockets" in done.stdout


def test_a_namespace_that_may_not_be_entered_says_why(tmp_path: Path) -> None:
    for words in (("run", "--duration", "1s"), ("watch", "--once")):
        done = forbidden("setns", "loadgen", *words, "--netns", "/proc/self/ns/net", cwd=tmp_path)
        assert done.returncode == 2
        assert (
            "cannot enter the network namespace: Operation not permitted; a seccomp filter"
            in one_line(done)
        )
