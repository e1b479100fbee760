"""`lab report` and `lab compare` as a user or a pipeline calls them."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from lab import report
from lab.cli.compare import command as compare
from lab.cli.report import command as rebuild
from tests.lab.synthetic import Plan, write_experiment, write_run

QUICK = Plan(rate=50_000, duration=1.0)
CLEAN = Plan(rate=50_000, duration=1.0, collapse=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(
        tmp_path_factory.mktemp("whole") / "experiment", trials=4, before=QUICK, after=CLEAN
    )


@pytest.fixture
def directory(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "reports" / "experiment"))


def call(command: click.Command, *arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def gated(directory: Path, *gates: str) -> None:
    """Have the experiment been asked for gates."""
    path = directory / "experiment.json"
    listed = ", ".join(f'"{gate}"' for gate in gates)
    path.write_text(path.read_text().replace('"servers": 1', f'"servers": 1, "gates": [{listed}]'))


def test_report_writes_every_peer_and_says_where(directory: Path) -> None:
    done = call(rebuild, directory)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"report: {directory / 'index.html'}"
    for name in (
        "index.html", "summary.md", "comparison.json", "junit.xml", "latency-before.hlog",
    ):  # fmt: skip
        assert (directory / name).stat().st_size > 0


@pytest.mark.parametrize(
    ("gate", "code"),
    [("latency_total: p(99) <= +5% vs before", 0), ("ok: count <= +5% vs before", 99)],
)
def test_report_has_the_exit_code_of_the_gates(directory: Path, gate: str, code: int) -> None:
    gated(directory, gate)
    assert call(rebuild, directory).exit_code == code


def test_report_has_the_exit_code_of_the_verdict(tmp_path: Path) -> None:
    """99 for a tuning that does nothing, 3 where nothing was measured."""
    same = write_experiment(tmp_path / "same", trials=4, before=QUICK, after=QUICK)
    assert call(rebuild, same).exit_code == 99
    limited = Plan(rate=5000, duration=1.0, validity="generator_limited")
    spoiled = write_experiment(tmp_path / "spoiled", trials=4, before=limited, after=limited)
    assert call(rebuild, spoiled).exit_code == 3


def test_a_stored_gate_that_is_none_is_refused_with_its_place(directory: Path) -> None:
    gated(directory, "latency_total: p(99) <= +5% vs befor")
    done = call(rebuild, directory)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "; at " in line


def test_report_keeps_the_list_of_experiments_up_to_date(directory: Path) -> None:
    call(rebuild, directory)
    assert not (directory.parent / "index.html").exists(), "no list where nobody keeps one"
    report.reports_index(directory.parent)
    other = shutil.copytree(directory, directory.parent / "other")
    call(rebuild, other)
    assert 'href="other/index.html"' in (directory.parent / "index.html").read_text()


def test_reports_can_be_published_without_the_trials(directory: Path, tmp_path: Path) -> None:
    done = call(rebuild, directory, "--out", tmp_path / "published")
    assert done.stdout.splitlines()[-1] == f"report: {tmp_path / 'published' / 'index.html'}"
    assert not (directory / "index.html").exists()
    assert "trials/01" not in (tmp_path / "published" / "index.html").read_text()


def test_report_of_a_single_run_is_its_page(tmp_path: Path) -> None:
    write_run(tmp_path / "run", CLEAN, seed=1)
    done = call(rebuild, tmp_path / "run")
    assert done.exit_code == 0
    assert "one run of the load generator" in (tmp_path / "run/index.html").read_text()
    refused = call(rebuild, tmp_path / "run", "--out", tmp_path / "other")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)


def test_samples_of_all_trials_as_csv(directory: Path) -> None:
    done = call(rebuild, directory, "--csv", "-")
    assert done.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {(row["arm"], row["trial"], row["counted"]) for row in rows} == {
        (arm, str(n), "yes") for arm in ("before", "after") for n in (1, 2, 3, 4)
    }
    assert not (directory / "index.html").exists()


@pytest.mark.parametrize(("command", "times"), [(rebuild, 1), (compare, 2)])
def test_what_is_not_there_is_one_line(tmp_path: Path, command: click.Command, times: int) -> None:
    done = call(command, *[tmp_path] * times)
    assert done.exit_code == 2
    [line] = done.stderr.splitlines()
    assert str(tmp_path) in line
    assert "lab run" in line


@pytest.mark.parametrize("where", ["--csv", "page"])
def test_what_cannot_be_written_is_one_line(directory: Path, where: str) -> None:
    if where == "page":
        (directory / "index.html").mkdir()
        done = call(rebuild, directory)
    else:
        done = call(rebuild, directory, "--csv", directory / "nowhere" / "x.csv")
    assert done.exit_code == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: cannot write ")
    assert str(directory) in line


def test_compare_says_what_changed_and_fails_for_the_worse(directory: Path) -> None:
    better = call(compare, f"{directory}:before", f"{directory}:after")
    assert (better.exit_code, "Prevents the failures" in better.stdout) == (0, True)
    worse = call(compare, f"{directory}:after", f"{directory}:before")
    assert (worse.exit_code, "Makes it worse" in worse.stdout) == (99, True)
    same = call(compare, directory, directory)
    assert (same.exit_code, "No detectable effect" in same.stdout) == (0, True)


def test_compare_takes_gates(directory: Path) -> None:
    pair = f"{directory}:before", f"{directory}:after"
    for gate, code in (("lost: rate <= +5% vs before", 0), ("ok: count <= +5% vs before", 99)):
        done = call(compare, *pair, "--threshold", gate)
        assert done.exit_code == code
        assert gate in done.stdout
    done = call(compare, *pair, "--threshold", "failed: rate == 0")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "; at " in line


def test_compare_of_single_runs_settles_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, CLEAN, seed=1)
    done = call(compare, tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out")
    assert done.exit_code == 3
    assert done.stdout.splitlines()[-1] == f"report: {tmp_path / 'out' / 'index.html'}"
