"""`loadgen report`: the summary, the page and their peers from a run directory."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import junitparser
import pytest
from click.testing import CliRunner, Result

from loadgen.cli.report import command
from loadgen.files import WriteError
from loadgen.run import rundir
from tests.loadgen.cli.command import loadgen
from tests.loadgen.synthetic import Plan, write_run


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", Plan(rate=5000, duration=1.0, collapse=False), seed=1)
    return tmp_path / "run"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_summary_and_page_are_rebuilt(directory: Path) -> None:
    (directory / rundir.SUMMARY).unlink()
    done = call(directory)
    assert done.exit_code == 0
    assert rundir.read_summary(directory) is not None
    assert done.stderr.splitlines()[-1].strip() == str(directory / "index.html")
    assert "Every connection was served" in (directory / "index.html").read_text()


def test_peers_are_written_where_asked(directory: Path, tmp_path: Path) -> None:
    done = call(
        directory, "--json", "-", "--csv", tmp_path / "s.csv", "--junit", tmp_path / "j.xml"
    )
    assert json.loads(done.stdout)["schema"] == "churnlab.run/1"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "s.csv").read_text())))
    assert {row["role"] for row in rows} == {"generator", "client", "server"}
    [suite] = junitparser.JUnitXml.fromfile(str(tmp_path / "j.xml"))
    assert [case.name for case in suite] == ["measurement is valid", "ok: count > 0"]


def test_a_killed_run_is_partial(tmp_path: Path) -> None:
    write_run(tmp_path / "run", Plan(rate=5000, duration=5.0, collapse=False, cut=1.0), seed=1)
    done = call(tmp_path / "run")
    assert done.exit_code == 3
    assert "Not the whole run" in (tmp_path / "run/index.html").read_text()


def test_what_is_missing_is_said(directory: Path) -> None:
    (directory / rundir.HISTOGRAMS).unlink()
    done = call(directory)
    assert f"missing: {rundir.HISTOGRAMS} is missing" in done.stderr
    assert f"{rundir.HISTOGRAMS} is missing" in (directory / "index.html").read_text()


def test_nothing_is_made_up_on_disk_without_run_json(directory: Path) -> None:
    """Without run.json a summary would be a guess: the page says so, and no file keeps it."""
    (directory / rundir.RUN).unlink()
    (directory / rundir.SUMMARY).unlink()
    assert call(directory).exit_code == 3
    assert not (directory / rundir.SUMMARY).exists()
    assert "what load was asked for is not known" in (directory / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "offender"),
    [
        (["--json", "-", "--csv", "-"], "--csv -"),
        (["--csv", "nowhere/x.csv"], "nowhere/x.csv"),
        (["--json", "nowhere/x.json"], "nowhere/x.json"),
        (["--junit", "nowhere/x.xml"], "nowhere/x.xml"),
    ],
)
def test_wrong_input_is_one_line(directory: Path, arguments: list[str], offender: str) -> None:
    done = call(directory, *arguments)
    if isinstance(done.exception, WriteError):  # which the outermost handler prints
        assert str(done.exception).startswith(f"cannot write {offender}: ")
        return
    assert done.exit_code == 2
    assert offender in done.stderr.splitlines()[-1]


def test_a_directory_without_a_run_is_one_line(tmp_path: Path) -> None:
    done = loadgen("report", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert str(tmp_path) in line
