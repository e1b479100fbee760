"""`loadgen run` to its end: what it prints and writes, and what it exits with."""

from __future__ import annotations

import resource
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from loadgen import summary
from loadgen.accounting.latency import by_tag
from loadgen.run import rundir
from tests.loadgen.cli.command import PATIENCE, codes, loadgen, start, summary_in
from tests.loadgen.hostile import Hostile, answering, silent
from tests.loadgen.memcached import Memcached, free_port


def test_a_good_run(memcached: Memcached, tmp_path: Path) -> None:
    """JSON alone on stdout, the report on stderr, all files in --out, and exit code 0."""
    done = loadgen(
        *("run", memcached.target, "--rate", "400", "--duration", "1s", "--max-lateness", "5s"),
        *("--workers", "2", "--out", "out", "--json", "-", "--junit", "gates.xml"),
        *("--threshold", "failed: rate == 0", "--threshold", "ok: count == 400"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    result = summary.decode(done.stdout.encode())
    assert result.unaccounted() == 0
    assert (result.scheduled, result.ok, result.replies) == (400, 400, {"hit": 400})
    assert (result.rate.target, result.rate.offered, result.rate.achieved) == (400, 400, 400)
    assert (result.validity, result.verdict.passed, codes(result)) == ("valid", True, set())
    assert result.generator.workers == 2
    assert result.latency["total"].count == 400
    assert "hit 400" in done.stderr
    assert done.stderr.rstrip().endswith("out")
    directory = tmp_path / "out"
    assert (directory / "summary.json").read_text() == done.stdout
    intervals = by_tag(rundir.read_intervals(directory))
    assert {tag: sum(counts.values()) for tag, counts in intervals.items()} == dict.fromkeys(
        ["connect", "first_byte", "total", "lateness"], 400
    )
    suite = ET.parse(tmp_path / "gates.xml").getroot()
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("3", "0")
    # The summary can be made again from the other files alone.
    (directory / "summary.json").unlink()
    again = loadgen("report", "out", "--json", "-", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


def test_no_server(tmp_path: Path) -> None:
    """Every attempt is refused, and the cause says so. A run in which nothing succeeded fails."""
    done = loadgen(
        *("run", f"127.0.0.1:{free_port()}", "--rate", "400", "--duration", "250ms"),
        *("--max-lateness", "5s", "--out", "out"),
        cwd=tmp_path,
    )
    assert done.returncode == 99
    result = summary_in(tmp_path / "out")
    assert (result.failed, result.outcomes) == (100, {"connect_refused": 100})
    assert result.errors == {"ECONNREFUSED": 100}
    (cause,) = result.causes
    assert (cause.cause, cause.fault, cause.connections) == ("server_refuses", "server", 100)
    assert "nothing listens on the server's port: 100" in done.stderr
    assert result.validity == "valid"


def test_two_shards_make_the_whole_schedule(memcached: Memcached, tmp_path: Path) -> None:
    """Their arrivals alternate, so that together they make one schedule, and one summary."""
    generators = [
        start(
            *("run", memcached.target, "--rate", "401", "--duration", "500ms", "--quiet"),
            *("--max-lateness", "5s", "--shard", f"{shard}/2", "--workers", "2", "--out", shard),
            cwd=tmp_path,
        )
        for shard in ("1", "2")
    ]
    for process in generators:
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 0
    first, second = summary_in(tmp_path / "1"), summary_in(tmp_path / "2")
    assert (first.scheduled, second.scheduled) == (101, 100)  # arrivals 0, 2, … and 1, 3, … of 201
    assert first.rate.target == second.rate.target == 200.5
    merged = loadgen("merge", "1", "2", "--json", "-", cwd=tmp_path)
    assert merged.returncode == 0, merged.stderr
    whole = summary.decode(merged.stdout.encode())
    assert (whole.scheduled, whole.ok, whole.rate.target) == (201, 201, 401)


def test_aborting_when_a_threshold_cannot_hold_any_more(tmp_path: Path) -> None:
    done = loadgen(
        *("run", f"127.0.0.1:{free_port()}", "--rate", "100", "--duration", "60s", "--out", "out"),
        *("--threshold", "failed: count <= 20", "--abort-on-fail", "--max-lateness", "5s"),
        cwd=tmp_path,
    )
    assert done.returncode == 99
    result = summary_in(tmp_path / "out")
    assert result.failed > 20
    assert result.elapsed < 50
    assert (result.validity, codes(result)) == ("partial", {"aborted", "not_seeded"})


def test_running_out_of_descriptors_is_an_outcome(tmp_path: Path) -> None:
    """Replies never come, so that descriptors pile up to the limit that the shell set."""

    def few_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    with Hostile(silent) as server:
        done = loadgen(
            *("run", server.target, "--rate", "600", "--duration", "250ms", "--workers", "1"),
            *("--op", "set", "--timeout", "400ms", "--max-lateness", "5s"),
            *("--max-in-flight", "1000", "--out", "out"),
            cwd=tmp_path,
            preexec_fn=few_descriptors,
        )
    assert done.returncode == 99, done.stderr
    result = summary_in(tmp_path / "out")
    assert set(result.outcomes) == {"fd_exhausted", "reply_timeout"}
    assert result.outcomes["reply_timeout"] < 100
    assert result.errors == {"EMFILE": result.outcomes["fd_exhausted"]}
    assert "client_out_of_file_descriptors" in {cause.cause for cause in result.causes}


def test_the_default_bound_keeps_below_the_descriptors_there_are(tmp_path: Path) -> None:
    """Without --max-in-flight, what has no descriptor is not started."""

    def few_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    with Hostile(silent) as server:
        loadgen(
            *("run", server.target, "--rate", "600", "--duration", "250ms", "--workers", "1"),
            *("--op", "set", "--timeout", "400ms", "--out", "out"),
            cwd=tmp_path,
            preexec_fn=few_descriptors,
        )
    result = summary_in(tmp_path / "out")
    assert set(result.outcomes) == {"reply_timeout"}
    assert result.drops["in_flight"] > 0


def test_the_bounds_are_the_run_s_not_each_worker_s(tmp_path: Path) -> None:
    """One attempt at a time, whatever the number of CPUs."""
    with Hostile(silent) as server:
        loadgen(
            *("run", server.target, "--rate", "100", "--duration", "200ms", "--workers", "2"),
            *("--op", "set", "--timeout", "600ms", "--max-in-flight", "1", "--out", "out"),
            cwd=tmp_path,
        )
    assert summary_in(tmp_path / "out").started == 1


def test_the_closed_loop_and_a_quiet_run(tmp_path: Path) -> None:
    """As many attempts as fit, in a directory named after the time, without a word."""
    with Hostile(answering(b"STORED\r\n")) as server:
        done = loadgen(
            *("run", server.target, "--rate", "max", "--concurrency", "2", "--op", "set"),
            *("--duration", "300ms", "--workers", "2", "--quiet", "--json", "a.json"),
            cwd=tmp_path,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (directory,) = (tmp_path / "runs").iterdir()
    assert (directory / "summary.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    result = summary_in(directory)
    assert result.rate.target is None
    assert result.replies == {"stored": result.ok}
    assert result.ok == result.started > 0


def test_samples_need_not_divide_a_second(memcached: Memcached, tmp_path: Path) -> None:
    """The latency log has no holes and no overlaps, and ends its intervals at ticks."""
    done = loadgen(
        *("run", memcached.target, "--rate", "100", "--duration", "900ms", "--interval", "700ms"),
        *("--max-lateness", "5s", "--out", "out"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert summary_in(tmp_path / "out").ok == 90
    intervals = [i for i in rundir.read_intervals(tmp_path / "out") if i.tag == "lateness"]
    ends = [i.start + i.length for i in intervals]
    assert sum(sum(i.counts.values()) for i in intervals) == 90
    assert [i.start for i in intervals] == pytest.approx([0.0, *ends[:-1]])
    assert ends[0] == 0.7


def test_pymemcache_itself(memcached: Memcached, tmp_path: Path) -> None:
    done = loadgen(
        *("run", memcached.target, "--client", "pymemcache", "--rate", "100"),
        *("--duration", "500ms", "--op", "mix:50/50", "--max-lateness", "5s", "--out", "out"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    result = summary_in(tmp_path / "out")
    assert (result.scheduled, result.ok) == (50, 50)
    assert set(result.replies) == {"hit", "stored"}
