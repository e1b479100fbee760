"""Run directories read back, whole or cut off at any byte."""

import io
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen.report import junit, page, table, text
from loadgen.run import rundir
from loadgen.run.stored import StoredError, damage, read, salvage
from tests.loadgen.synthetic import Plan, write_run

FILES = (rundir.RUN, rundir.SAMPLES, rundir.HISTOGRAMS, rundir.SUMMARY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    write_run(path, Plan(rate=50_000, duration=1.0), seed=1)
    return path


def report(path: Path) -> list[str]:
    """Write every report of a run; return what is said to be missing."""
    found = salvage(path)
    page.write(found)
    text.render(found.summary)
    junit.render(found.summary)
    table.write([({}, found.samples)], io.StringIO())
    html = (path / page.PAGE).read_text()
    for line in found.missing:
        assert line.split("(")[0].split("'")[0] in html
    return found.missing


def test_a_whole_run_lacks_nothing(whole: Path) -> None:
    assert report(whole) == []
    assert salvage(whole).summary == read(whole).summary()


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(file=st.sampled_from(FILES), part=st.floats(0, 1))
def test_cut_at_any_byte_still_reports(whole: Path, tmp_path: Path, file: str, part: float) -> None:
    """Whichever file is cut, wherever: every report is written and says what is missing."""
    path = tmp_path / "cut"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    data = (path / file).read_bytes()
    keep = min(len(data) - 1, int(part * len(data)))
    (path / file).write_bytes(data[:keep])
    missing = report(path)
    # The summary is made anew from the others; a growing file that ends after a whole line looks
    # like that of a shorter run; the last newline of a JSON file means nothing.
    harmless = file == rundir.SUMMARY or data[:keep].endswith(b"\n") or keep == len(data) - 1
    assert harmless or any(file in line for line in missing)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(gone=st.sets(st.sampled_from(FILES), max_size=3))
def test_whichever_files_are_gone_the_rest_is_reported(
    whole: Path, tmp_path: Path, gone: set[str]
) -> None:
    path = tmp_path / "lacking"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    for file in gone:
        (path / file).unlink()
    missing = report(path)
    for file in gone - {rundir.SUMMARY}:
        assert f"{file} is missing" in missing


def test_without_run_json_the_stored_summary_stands(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    (path / rundir.RUN).write_text("{")
    found = salvage(path)
    assert found.about is None
    assert found.summary == rundir.read_summary(whole)
    assert any("cannot be made anew" in line for line in found.missing)


def test_without_both_the_samples_tell_what_they_can(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    (path / rundir.RUN).unlink()
    (path / rundir.SUMMARY).unlink()
    found = salvage(path)
    known = rundir.read_summary(whole)
    assert known is not None
    assert (found.summary.scheduled, found.summary.ok) == (known.scheduled, known.ok)
    assert found.summary.validity == "partial"
    assert any("not known" in line for line in found.missing)


def test_nothing_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoredError, match=str(tmp_path)) as caught:
        salvage(tmp_path)
    assert "\n" not in str(caught.value)


def test_damage_names_the_files_as_asked(tmp_path: Path) -> None:
    lines = damage(tmp_path, "trials/01-before")
    assert lines == [f"trials/01-before/{file} is missing" for file in FILES[:3]]
