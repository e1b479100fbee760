"""What a neighbour saw of a namespace, put into a run that could not see it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from lab.testbed.docker.inside import watch
from lab.testbed.docker.inside.watch import WatchedNamespace
from loadgen import sample
from loadgen.run import rundir, stored
from loadgen.sample import Sample
from tests.lab.synthetic import Plan, write_run

ORIGIN = 1000.0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    write_run(path, Plan(rate=100, duration=1, collapse=False), seed=1)
    about = rundir.read_run(path)
    assert about is not None
    rundir.write_about(path, {**about, "origin": ORIGIN})
    return path


def watched(
    path: Path, role: str, times: list[float], *, metric: str = "nf_conntrack_entries"
) -> Path:
    found = WatchedNamespace(
        role=role, sysctls={"net.core.somaxconn": "77"}, absent={"missing": "why"}
    )
    samples = [Sample(ORIGIN + t, role, {metric: number}) for number, t in enumerate(times)]
    path.write_bytes(
        msgspec.json.encode(found) + b"\n" + b"".join(map(sample.encode_line, samples))
    )
    return path


def test_samples_of_the_runs_time_are_put_on_its_clock(run: Path, tmp_path: Path) -> None:
    path = watched(tmp_path / "host.jsonl", "host", [-50, -0.1, 0.25, 0.5, 1.1, 50])
    assert watch.merge(run, [path]) == []
    merged = stored.read(run)
    seen = [(item.t, item.values) for item in merged.samples if item.role == "host"]
    assert seen == [
        (-0.1, {"nf_conntrack_entries": 1}),
        (0.25, {"nf_conntrack_entries": 2}),
        (0.5, {"nf_conntrack_entries": 3}),
        (1.1, {"nf_conntrack_entries": 4}),
    ]
    times = [item.t for item in merged.samples]
    assert times == sorted(times)
    assert merged.about.sysctls["host"] == {"net.core.somaxconn": "77"}
    assert merged.about.absent["host"] == {"missing": "why"}


def test_the_summary_is_concluded_anew_with_them(run: Path, tmp_path: Path) -> None:
    path = watched(tmp_path / "host.jsonl", "host", [0.1, 0.2, 0.9])
    watch.merge(run, [path])
    summary = rundir.read_summary(run)
    assert summary is not None
    entries = summary.kernel["host"]["nf_conntrack_entries"]
    assert (entries.first, entries.last, entries.delta) == (0, 2, 2)


def test_what_gave_nothing_is_named(run: Path, tmp_path: Path) -> None:
    late = watched(tmp_path / "late.jsonl", "server", [50])
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{")
    before = (run / rundir.SAMPLES).read_bytes()
    missing = tmp_path / "missing.jsonl"
    assert watch.merge(run, [late, broken, missing]) == [
        f"{path.name}: no samples of this run's time" for path in (late, broken, missing)
    ]
    assert (run / rundir.SAMPLES).read_bytes() == before


def test_a_run_that_never_began_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "run", Plan(rate=100, duration=1), seed=1)
    path = watched(tmp_path / "host.jsonl", "host", [0.1])
    assert watch.merge(tmp_path / "run", [path]) == ["run: the run did not begin"]


def test_a_line_that_was_cut_off_costs_only_itself(run: Path, tmp_path: Path) -> None:
    path = watched(tmp_path / "host.jsonl", "host", [0.1, 0.2])
    path.write_bytes(path.read_bytes()[:-5])
    assert watch.merge(run, [path]) == []
    assert len([item for item in stored.read(run).samples if item.role == "host"]) == 1


def test_a_watcher_samples_its_own_namespace_until_it_is_told_to_end(tmp_path: Path) -> None:
    path = tmp_path / "server.jsonl"
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "lab.testbed.docker.inside",
        "watch",
        "server",
        str(path),
        "9",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as watcher:
        while not path.exists() or path.read_bytes().count(b"\n") < 3:
            assert watcher.poll() is None
            time.sleep(0.02)
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait() == 0
        assert watcher.stderr is not None
        assert watcher.stderr.read() == ""
    first, *lines = path.read_bytes().splitlines()
    found = msgspec.json.decode(first, type=WatchedNamespace)
    assert found.role == "server"
    assert "net.core.somaxconn" in found.sysctls
    samples = list(sample.decode_lines(lines))
    assert samples[0].role == "server"
    assert "sockstat_TCP_tw" in samples[0].values
    assert abs(samples[-1].t - time.monotonic()) < 3600


def test_a_watcher_ends_when_there_is_nothing_more_to_watch(tmp_path: Path) -> None:
    old = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        watch.watch("host", tmp_path / "host.jsonl", over=lambda: True)
    finally:
        signal.signal(signal.SIGTERM, old[0])
        signal.signal(signal.SIGINT, old[1])
    assert (tmp_path / "host.jsonl").read_bytes().count(b"\n") == 2
