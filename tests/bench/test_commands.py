"""The measurements as commands: listed, with help; the C floor compiles and counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import change, floor, ideas
from bench.__main__ import measurements
from lab.testbed.base import TestbedError
from tests.loadgen.memcached import Memcached

_ROOT = Path(__file__).parents[2]
_BENCH = _ROOT / "bench"


def test_every_measurement_is_listed_with_a_sentence() -> None:
    found = measurements(_BENCH)
    assert {"closed_loop", "open_loop", "highest_rate", "cpu_by_rate", "soak", "sampler"} <= set(
        found
    )
    assert all(found.values())


@pytest.mark.parametrize("name", measurements(_BENCH))
def test_every_measurement_explains_itself(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", "--help"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert measurements(_BENCH)[name][:30] in done.stdout


def test_the_floor_compiles_and_counts(tmp_path: Path) -> None:
    """Every connection it claims is one get that the server saw."""
    program = floor.compiled(tmp_path)
    assert floor.compiled(tmp_path) == program
    with Memcached() as server:
        before = server.statistics()["cmd_get"]
        host, port = server.address
        done = subprocess.run(
            [str(program), host, str(port), "0.1", "4"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        run = floor.parse(done.stdout)
        assert run.connections == server.statistics()["cmd_get"] - before
    assert run.connections >= 4
    assert run.seconds >= 0.1


def test_the_floor_says_when_nobody_listens(tmp_path: Path) -> None:
    program = floor.compiled(tmp_path)
    with Memcached() as server:
        host, port = server.address
    done = subprocess.run(
        [str(program), host, str(port), "0.1", "4"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "refused" in done.stderr


def test_every_idea_is_another_program(tmp_path: Path) -> None:
    programs = [floor.compiled(tmp_path)]
    programs += [floor.compiled(tmp_path, defines=(define,)) for define in ideas.DEFINES.values()]
    assert len({program.read_bytes() for program in programs}) == len(programs)


def test_without_gcc_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TestbedError, match="apt install gcc"):
        floor.compiled(tmp_path)


def test_a_source_that_does_not_compile_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="apt install libc6-dev") as caught:
        floor.compiled(tmp_path, "missing")
    assert "\n" not in str(caught.value)


def test_no_such_revision_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="git archive") as caught:
        change.extract("no-such-revision", tmp_path)
    assert "\n" not in str(caught.value)
