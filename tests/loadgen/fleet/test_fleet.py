"""A fleet of processes on this machine: whatever is killed, what was written comes home."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from loadgen.fleet import wire
from loadgen.fleet.conduct import KEY_FILE
from loadgen.fleet.home import read_fleet
from loadgen.run import rundir
from loadgen.summary import Summary
from tests.loadgen.cli.command import loadgen, start, summary_in, under_way, wait_until
from tests.loadgen.memcached import Memcached, free_port

pytestmark = pytest.mark.kernel
Process = subprocess.Popen[str]


class Fleet:
    """Control and its shards, as processes in one folder."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "key").write_bytes(secrets.token_bytes(wire.KEY))
        self._target = target
        self.shards: list[Process] = []

    def control(self, *options: str, shards: int = 2) -> Process:
        return start(
            *("run", self._target, "--rate", "400", "--workers", "1", "--max-lateness", "5s"),
            *("--fleet", "wait", "--shards", str(shards), "--fleet-key", "key", "--out", "out"),
            *("--collector", f"127.0.0.1:{self.port}", *options),
            cwd=self.folder,
        )

    def shard(self, seat: int, *, key: str = "key") -> Process:
        process = start(
            *("fleet", "shard", "--collector", f"127.0.0.1:{self.port}", "--fleet-key", key),
            *("--seat", str(seat), "--node", f"node-{seat}"),
            cwd=self.folder,
        )
        self.shards.append(process)
        return process

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def home(self, seat: int) -> Path:
        return self.out / f"shards/{seat + 1:03d}-node-{seat}"

    def begun(self) -> bool:
        """Whether each shard's first connections are known here."""
        return all(under_way(self.home(seat)) for seat in range(len(self.shards)))

    def summary(self) -> Summary:
        return summary_in(self.out)


@pytest.fixture
def fleet(memcached: Memcached, tmp_path: Path) -> Iterator[Fleet]:
    found = Fleet(tmp_path, memcached.target)
    yield found
    for process in found.shards:
        process.kill()
        process.communicate()


def ended(process: Process) -> tuple[int, str]:
    _, said = process.communicate(timeout=40)
    return process.returncode, said


def test_two_shards_are_one_run(fleet: Fleet) -> None:
    """Counts add up, files are whole, pages lead to each other; strangers do not disturb."""
    control = fleet.control("--duration", "2s", "--threshold", "ok: count == 800")
    shards = [fleet.shard(seat) for seat in range(2)]
    with strangers(fleet.port, control):
        code, said = ended(control)
    assert code == 0, said
    assert "2 shards; clocks known to within " in said
    assert [ended(shard)[0] for shard in shards] == [0, 0]
    summary = fleet.summary()
    assert (summary.scheduled, summary.ok, summary.rate.target) == (800, 800, 400)
    assert [(one.node, one.ok, one.state) for one in summary.shards] == [
        ("node-0", 400, "whole"),
        ("node-1", 400, "whole"),
    ]
    assert all(one.clock is not None and abs(one.clock.offset) < 0.1 for one in summary.shards)
    assert not (fleet.out / KEY_FILE).exists()
    page = (fleet.out / "index.html").read_text()
    for seat in range(2):
        own = summary_in(fleet.home(seat))
        assert (own.ok, own.config.shard) == (400, (seat, 2))
        assert f'href="shards/{seat + 1:03d}-node-{seat}/index.html"' in page
        assert (fleet.home(seat) / "index.html").is_file()
    assert summary.latency["total"].count == 800
    again = loadgen("report", "out", "--json", "again.json", cwd=fleet.folder)
    assert again.returncode == 0, again.stderr
    assert msgspec.json.decode((fleet.folder / "again.json").read_bytes(), type=Summary) == summary
    merged = loadgen(
        *("merge", *(str(fleet.home(seat)) for seat in range(2)), "--json", "merged.json"),
        cwd=fleet.folder,
    )
    assert merged.returncode == 0, merged.stderr
    by_hand = msgspec.json.decode((fleet.folder / "merged.json").read_bytes(), type=Summary)
    assert (by_hand.ok, by_hand.latency, by_hand.rate) == (800, summary.latency, summary.rate)


@contextmanager
def strangers(port: int, control: Process) -> Iterator[None]:
    """Connections to control of some who have no key: silent, talkative, and with a wrong proof."""

    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listening, control)
    with ExitStack() as stack:
        links = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)
        ]
        links[1].sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        assert len(links[2].recv(1000)) == len(wire.HELLO) + wire.NONCE
        links[2].sendall(secrets.token_bytes(wire.NONCE + wire.TAG))
        assert links[2].recv(1) == b""
        yield


def test_a_killed_control_is_taken_up_where_it_was(fleet: Fleet) -> None:
    """Away in the middle of the run, and back before the shards give up: nothing is lost."""
    control = fleet.control("--duration", "3s")
    shards = [fleet.shard(seat) for seat in range(2)]
    wait_until(fleet.begun, control)
    control.kill()
    control.communicate()
    before = [(fleet.home(seat) / rundir.SAMPLES).stat().st_size for seat in range(2)]
    assert all(before)
    done = loadgen("fleet", "resume", "out", cwd=fleet.folder)
    assert done.returncode == 0, done.stderr
    assert [ended(shard)[0] for shard in shards] == [0, 0]
    summary = fleet.summary()
    assert (summary.ok, summary.validity) == (1200, "valid")
    assert all(one.clock is not None for one in summary.shards)
    for seat in range(2):
        assert (fleet.home(seat) / rundir.SAMPLES).stat().st_size > before[seat]
    once_more = loadgen("fleet", "resume", "out", cwd=fleet.folder)
    assert once_more.returncode == 1
    assert "has come home already; loadgen report out" in once_more.stderr


def test_shards_without_control_end_within_ten_seconds(fleet: Fleet) -> None:
    """And what they had sent is a report."""
    control = fleet.control("--duration", "1s")
    shards = [fleet.shard(seat) for seat in range(2)]
    wait_until(fleet.begun, control)
    record = read_fleet(fleet.out)
    assert record is not None
    assert record.start is not None
    control.kill()
    control.communicate()
    for shard in shards:
        code, said = ended(shard)
        assert code == 1
        assert f"no control machine at 127.0.0.1:{fleet.port}" in said
    assert time.time() - record.start < 1 + 10 + 5  # this machine may be busy
    done = loadgen("report", "out", cwd=fleet.folder)
    assert done.returncode == 3, done.stderr
    assert fleet.summary().scheduled == 400


def test_ctrl_c_ends_all_in_good_order(fleet: Fleet) -> None:
    control = fleet.control("--duration", "60s")
    shards = [fleet.shard(seat) for seat in range(2)]
    wait_until(fleet.begun, control)
    control.send_signal(signal.SIGINT)
    code, said = ended(control)
    assert code == 130, said
    assert [ended(shard)[0] for shard in shards] == [130, 130]
    summary = fleet.summary()
    assert summary.validity == "partial"
    assert "not_started" not in summary.drops


def test_a_threshold_that_cannot_hold_any_more_ends_the_fleet(fleet: Fleet) -> None:
    fleet._target = f"127.0.0.1:{free_port()}"
    control = fleet.control(
        *("--duration", "60s", "--threshold", "failed: count <= 50", "--abort-on-fail")
    )
    for seat in range(2):
        fleet.shard(seat)
    code, said = ended(control)
    assert code == 99, said
    summary = fleet.summary()
    assert summary.failed > 50
    assert summary.elapsed < 50
    assert "aborted" in {warning.code for warning in summary.warnings}


def test_what_a_shard_cannot_do_is_one_line_before_the_start(fleet: Fleet) -> None:
    control = fleet.control("--source-ip", "192.0.2.77")
    for seat in range(2):
        fleet.shard(seat)
    code, said = ended(control)
    assert code == 1
    assert "cannot run it: source 192.0.2.77 is not an address of this host" in said
    assert said.count("\n") == 1
    assert not fleet.out.exists()


def test_a_run_begins_without_a_shard_that_does_not_come(fleet: Fleet) -> None:
    """One with another key is a stranger. The other one carries its own share, and no more."""
    (fleet.folder / "wrong").write_bytes(secrets.token_bytes(wire.KEY))
    control = fleet.control("--fleet-wait", "4s", "--duration", "1s")
    fleet.shard(0)
    fleet.shard(1, key="wrong")
    code, said = ended(control)
    assert code == 3, said
    assert said.startswith("warning: shard 2 did not come within 4 s: the run begins without")
    assert "(--collector), or allow more time (--fleet-wait)\n1 shard; clocks known" in said
    summary = fleet.summary()
    assert (summary.ok, summary.drops, summary.validity) == (200, {"not_started": 200}, "partial")
    assert [(one.state, one.said) for one in summary.shards] == [
        ("whole", ""),
        ("missing", "it did not come within 4 s"),
    ]


def test_without_any_shard_nothing_is_run(fleet: Fleet) -> None:
    code, said = ended(fleet.control("--fleet-wait", "0.2s"))
    assert code == 1
    assert said.startswith("error: shard 1, shard 2 did not come within 0.2 s; make sure that ")
    assert said.count("\n") == 1
    assert not fleet.out.exists()
