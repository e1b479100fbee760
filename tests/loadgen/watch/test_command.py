"""`loadgen watch` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.loadgen.cli.command import PATIENCE, loadgen, start, wait_until
from tests.loadgen.memcached import Memcached


def test_once_shows_limits_and_rates(tmp_path: Path) -> None:
    done = loadgen("watch", "--once", "--interval", "50ms", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "TIME_WAIT sockets" in done.stdout
    assert "ports" in done.stdout
    assert "connections opened" in done.stdout


def test_lines_of_json_carry_values_and_headroom(memcached: Memcached, tmp_path: Path) -> None:
    """Connections held toward the target are its pool's ports; its statistics come if asked for."""
    held = [socket.create_connection(memcached.address) for _ in range(5)]
    done = loadgen(
        *("watch", memcached.target, "--duration", "600ms", "--interval", "100ms", "--stats"),
        *("--pid", str(os.getpid())),
        cwd=tmp_path,
    )
    for connection in held:
        connection.close()
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) >= 2
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)
    first = lines[0]
    assert first["schema"] == "churnlab.watch/2"
    assert first["values"]["memcached_curr_connections"] >= 5
    assert first["values"]["process_open_fds"] > 0
    pool = next(
        item
        for item in first["headroom"]
        if item["metric"] == "ephemeral_ports_in_use"
        and item["labels"]["port"] == str(memcached.address[1])
    )
    assert pool["value"] >= 5
    assert pool["share"] == pytest.approx(pool["value"] / pool["limit"], abs=1e-6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    process = start("watch", "--interval", "20ms", cwd=tmp_path)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["t"] == 0
    process.send_signal(number)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (0, "")


def test_it_serves_metrics(tmp_path: Path) -> None:
    process = start(
        "watch", "--listen", "127.0.0.1:0", "--quiet", "--interval", "20ms", cwd=tmp_path
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    place = said.removeprefix("serving ").strip()

    def served() -> bool:
        with urllib.request.urlopen(place, timeout=10) as answer:
            return b"node_sockstat_TCP_tw " in answer.read()

    wait_until(served, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    process.communicate()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--netns", "no-such"], "no network namespace 'no-such'"),
        (["--pid", "4194305"], "no such process"),
        (["--stats"], "name one"),
        (["--listen", "nonsense"], "not an address to listen on"),
        (["--listen", "a..b:1"], "no name of a host"),
        (["--listen", "x" * 64 + ":1"], "no name of a host"),
        (["--keep", "5K", "--out", "x"], "at least 1M"),
        (["--keep", "lots", "--out", "x"], "is not a size"),
        (["no such host"], "not a target"),
    ],
)
def test_what_cannot_be_watched_is_one_line(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = loadgen("watch", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = loadgen("watch", "--listen", f"127.0.0.1:{port}", cwd=tmp_path)
    assert done.returncode == 2
    assert "give another address or port" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """A package of that name that cannot be imported stands in for one that is missing."""
    (tmp_path / "prometheus_client.py").write_text("raise ImportError\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = loadgen("watch", "--listen", ":0", cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert "pip install 'churnlab[metrics]'" in done.stderr
    assert sys.executable not in done.stderr
