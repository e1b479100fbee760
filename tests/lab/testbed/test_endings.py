"""However the lab ends, nothing of it stays: no process, no namespace, no veth."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from lab.testbed.processes import enter, tool
from loadgen.sampling.namespace import new_namespace, run_inside

pytestmark = pytest.mark.kernel

DEADLINE = 10.0
"""Seconds; it takes well below one on an idle machine."""


@pytest.fixture
def own() -> Iterator[int]:
    """A namespace of the test's own."""
    descriptor = new_namespace()
    yield descriptor
    os.close(descriptor)


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def plant(own: int, name: str, pid: int) -> None:
    """Put one end of a veth pair into the process's namespace; the other tells when that is gone.

    A namespace without a name can be seen by nobody outside, but with it goes its end of the pair,
    and with that the other end.
    """
    command = [tool("ip"), "link", "add", name, "type", "veth"]
    peer = ["peer", "name", name, "netns", f"/proc/{pid}/ns/net"]
    subprocess.run([*enter(own), *command, *peer], pass_fds=(own,), check=True)


def links(own: int) -> set[str]:
    return {name for _, name in run_inside(own, socket.if_nameindex)}


def end(process: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)


def fail(lab: subprocess.Popen[bytes]) -> None:
    assert lab.stdin is not None
    lab.stdin.write(b"\n")
    lab.stdin.flush()


ENDINGS: dict[str, Callable[[subprocess.Popen[bytes]], object]] = {
    "kill -9": lambda lab: lab.send_signal(signal.SIGKILL),
    "SIGTERM": lambda lab: lab.send_signal(signal.SIGTERM),
    "Ctrl-C": lambda lab: os.killpg(lab.pid, signal.SIGINT),  # as the terminal does
    "an error in the body": fail,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_stays(ending: str, own: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    lab = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("holder.py")), str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    with lab, ExitStack() as stack:
        stack.callback(lab.kill)
        assert lab.stdout is not None
        servers = json.loads(lab.stdout.readline())
        until(lambda: log.read_text().endswith("\n"), "the stand-in did not get ready")
        load = json.loads(log.read_text())
        processes = {pid: os.pidfd_open(pid) for pid in (*servers, load["pid"], load["worker"])}
        for descriptor in processes.values():
            stack.callback(os.close, descriptor)
            stack.callback(end, descriptor)  # should the test fail
        plant(own, "client", load["pid"])
        plant(own, "server", servers[0])
        assert {"client", "server"} < links(own)

        ENDINGS[ending](lab)

        for pid, descriptor in processes.items():
            ended, _, _ = select.select([descriptor], [], [], DEADLINE)
            assert ended, f"process {pid} lives on"
        until(lambda: links(own) == {"lo"}, "a namespace lives on")
        assert lab.wait(DEADLINE) != 0

    # Who can, lets loadgen save its results, and tells it once.
    told = log.read_text().count("interrupted")
    assert told == (1 if ending in {"Ctrl-C", "an error in the body"} else 0)
