"""The small roles: what each does as a program, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from lab.sysctl.catalogue import CATALOGUE
from lab.testbed.docker import orders
from lab.testbed.docker.inside import load, look, server, wait
from lab.testbed.docker.orders import LoadOrder, Seen, Serve
from loadgen.fleet.owner import boot_id
from loadgen.run import rundir
from loadgen.run.resolve import default_workers, usable_cpus


def inside(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "lab.testbed.docker.inside", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "error: no such role: none given\n"),
        (("dance",), "error: no such role: dance\n"),
        (("plan",), "error: no such role: plan\n"),
    ],
)
def test_what_is_no_role_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = inside(*arguments)
    assert done.returncode == 1
    assert done.stderr == said


def test_look_tells_values_rights_names_and_machine() -> None:
    done = inside("look", "net.ipv4.tcp_mtu_probing", "net.no.such_key")
    assert done.returncode == 0, done.stderr
    seen = msgspec.json.decode(done.stdout, type=Seen)
    assert seen.asked == ["net.ipv4.tcp_mtu_probing", "net.no.such_key"]
    assert seen.values.keys() <= {*CATALOGUE, "net.ipv4.tcp_mtu_probing"}
    assert "net.ipv4.tcp_mtu_probing" in seen.values
    assert "net.ipv4.tcp_tw_reuse" in seen.writable
    assert "net.ipv4.tcp_ehash_entries" not in seen.writable
    assert {"net.core.somaxconn", "net.ipv4.tcp_mtu_probing"} <= set(seen.names)
    assert seen.boot == boot_id()


def test_what_is_in_force_is_kept_where_the_testbed_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(orders, "VOLUME", tmp_path)
    look.keep("client", ["net.ipv4.tcp_mtu_probing"])
    kept = json.loads((tmp_path / "client.sysctls").read_bytes())
    assert kept == look.read_back(["net.ipv4.tcp_mtu_probing"])
    assert (
        " ".join(kept["net.ipv4.ip_local_port_range"].split())
        == (kept["net.ipv4.ip_local_port_range"])
    )


def test_the_generator_gets_half_of_the_cpus_unless_told_otherwise() -> None:
    """The servers are on the same machine, although the generator cannot see that."""
    shared = str(default_workers(usable_cpus(), shared=True))
    order = LoadOrder(sources=(), arguments=("198.18.0.2:11211", "--rate", "5"), keys=())
    assert load.command(order)[1:] == [
        *("-m", "loadgen", "run", "198.18.0.2:11211", "--rate", "5", "--workers", shared)
    ]
    chosen = LoadOrder(sources=(), arguments=("--workers=7",), keys=())
    assert load.command(chosen)[-1:] == ["--workers=7"]


def test_wait_returns_at_a_moment_of_the_run(tmp_path: Path) -> None:
    origin = time.monotonic() - 1.0
    rundir.write_about(tmp_path, {"origin": origin})
    assert wait.wait(tmp_path / rundir.RUN, 0.5) >= 1.0  # passed already
    done = inside("wait", str(tmp_path / rundir.RUN), "1.5")
    assert float(done.stdout) >= 1.5


def test_wait_waits_for_the_run_to_begin(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "lab.testbed.docker.inside",
        "wait",
        str(tmp_path / rundir.RUN),
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
        rundir.write_about(tmp_path, {"origin": None})
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.1)
        rundir.write_about(tmp_path, {"origin": time.monotonic()})
        assert waiting.wait() == 0


def test_memcacheds_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 5000)

    def connections(asked: int) -> str:
        command = server.command(threads=2, connections=asked, memory=64, options=("-R", "9"))
        assert command[-2:] == ["-R", "9"]  # last, so that they override
        return command[command.index("-c") + 1]

    assert [connections(asked) for asked in (0, 100, 9000)] == ["5000", "100", "5000"]


@pytest.fixture
def volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program path in which memcached is a script that tells its arguments."""
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "memcached"
    fake.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/told\n'
        'until [ -z "$FAKE_UNTIL" ] || [ -e "$FAKE_UNTIL" ]; do sleep 0.05; done\n'
        'exec sleep "${FAKE_LIFE:-0}"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def test_a_server_is_watched_for_as_long_as_it_lives(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives until there are samples, however long a busy machine takes to take the first."""
    monkeypatch.setenv("FAKE_UNTIL", str(volume / "server.jsonl"))
    code = (
        "import sys; from pathlib import Path; from lab.testbed.docker.inside import server;"
        f"sys.exit(server.serve(['memcached', '-x'], Path('{volume}/server.jsonl')))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=False)
    assert done.returncode == 0
    assert (volume / "told").read_text() == "-x\n"


def test_a_signal_ends_server_and_watcher(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LIFE", "1000")
    code = (
        "import sys; from pathlib import Path; from lab.testbed.docker.inside import server;"
        f"sys.exit(server.serve(['memcached'], Path('{volume}/server.jsonl')))"
    )
    with subprocess.Popen([sys.executable, "-c", code], process_group=0) as serving:
        while not (volume / "server.jsonl").exists() or not (volume / "told").exists():
            assert serving.poll() is None
            time.sleep(0.02)
        serving.terminate()
        serving.wait()
    with suppress(ProcessLookupError):
        while True:  # the group is empty when the last of them is gone
            os.killpg(serving.pid, 0)
            time.sleep(0.02)


def order(name: str) -> Serve:
    return Serve(
        server=name,
        certificate="",
        watch=True,
        threads=4,
        connections=100,
        options=("-R", "20"),
        keys=("a.b",),
    )


@pytest.mark.parametrize(
    ("name", "begins", "ports"),
    [
        ("memcached", ["memcached", "-l", "0.0.0.0:11211,0.0.0.0:11212,0.0.0.0:11213"], 3),
        ("redis", [shutil.which("redis-server"), "--bind", "0.0.0.0", "--port", "6379"], 1),
        ("sh -c 'serve {address} {port}'", ["sh", "-c", "serve 0.0.0.0 8080"], 1),
    ],
)
def test_each_server_listens_on_the_container_s_addresses(
    name: str, begins: list[str], ports: int
) -> None:
    words, listens = server.command_of(order(name))
    assert words[: len(begins)] == begins
    assert len(list(listens)) == ports


def test_a_command_that_the_image_lacks_is_one_line_with_the_remedy() -> None:
    done = inside("server", msgspec.json.encode(order("no-such-server {port}")).decode())
    assert done.returncode == 1
    assert done.stderr.startswith("error: --server: there is no command 'no-such-server' in this ")
    assert len(done.stderr.splitlines()) == 1


def test_an_order_to_serve_travels_as_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(order("redis")), type=Serve) == order("redis")
    done = inside("server", '{"watch": true, "unknown": 1}')
    assert done.returncode == 1
    assert "unknown" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def memcached(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setattr(server, "PORT", port)
    program = shutil.which("memcached")
    assert program is not None
    command = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-A", "-u", "root"]
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.01)
        yield process
        process.kill()


@pytest.mark.kernel
def test_a_server_is_shut_down_with_a_word(memcached: subprocess.Popen[bytes]) -> None:
    server.shut_down("127.0.0.1")
    assert memcached.wait(60) == 0
    server.shut_down("127.0.0.1")  # who has gone already is fine
