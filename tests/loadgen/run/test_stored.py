"""Run directories read back, whole or cut off at any byte."""

import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadgen.report import junit, page, table, text
from loadgen.run import rundir
from loadgen.run.stored import StoredError, damage, read, salvage
from loadgen.sample import Sample, encode_line
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


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("config.duration", 0, "Expected `float` >= 1e-06 - at `$.config.duration`"),
        ("config.rate", 0, "Expected `float` > 0.0 - at `$.config.rate`"),
        ("config.rate", 1e308, "Expected `float` <= 1000000000000.0 - at `$.config.rate`"),
        ("config.rate", None, "schedule 'constant' needs --rate"),
        ("config.schedule", "bogus", "'bogus' is not a schedule"),
        ("config.shard", [0, 0], "Expected `int` >= 1 - at `$.config.shard[1]`"),
        ("config.shard", [2, 2], "shard 2 of 2, counted from 0 - at `$.config`"),
        ("config.workers", 10**9, "Expected `int` <= 4096 - at `$.config.workers`"),
        ("config.protocol", "gopher", "unknown protocol 'gopher'"),
        ("config.thresholds", ["bogus"], "a threshold is METRIC: AGGREGATION OPERATOR VALUE"),
        ("config.addresses", [["nowhere", 1]], "'nowhere' does not appear to be an IPv4 or IPv6"),
        ("config.addresses", [["::1", 70000]], "at `$.config.addresses[0][1]`"),
        ("config.op", 5, "Expected `str`, got `int` - at `$.config.op`"),
        ("late", 1e300, "at `$.late`"),
        ("sysctls", [], "Expected `object`, got `array` - at `$.sysctls`"),
    ],
)
def test_what_no_run_writes_is_refused_with_its_field(
    field: str, value: object, said: str, whole: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    about = json.loads((path / rundir.RUN).read_bytes())
    *way, last = field.split(".")
    place = about
    for name in way:
        place = place[name]
    place[last] = value
    (path / rundir.RUN).write_text(json.dumps(about))
    [line] = damage(path)
    assert line.startswith(f"{rundir.RUN} is cut off or damaged (")
    assert said in line
    assert line in report(path)


@pytest.mark.parametrize(
    "line",
    [
        b'{"t":1e300,"role":"client","values":{}}',
        b'{"t":-1e300,"role":"client","values":{}}',
        b'{"t":NaN,"role":"client","values":{}}',
        b'{"t":1,"role":"\\u001b[2J","values":{}}',
        b'{"t":1,"role":"client","values":{"x":1e300}}',
        b'{"t":1,"role":"client","values":{"x":1' + b"0" * 5000 + b"}}",
        b'{"t":1,"role":"client","values":{"\xff":1}}',
        b'{"t":1,"role":"client","values":' + b"[" * 100_000,
    ],
)
def test_a_sample_that_cannot_be_is_passed_over(line: bytes, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    before = rundir.read_samples(tmp_path / "run")
    with (tmp_path / "run" / rundir.SAMPLES).open("ab") as file:
        file.write(line + b"\n")
    assert rundir.read_samples(tmp_path / "run") == before


def test_an_outcome_of_another_version_is_shown_under_its_name(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    last = rundir.read_samples(tmp_path / "run")[-3]
    values = {**last.values, "generator_outcome_bogus": 3}
    with (tmp_path / "run" / rundir.SAMPLES).open("ab") as file:
        file.write(encode_line(Sample(last.t + 1, last.role, values)))
    assert report(tmp_path / "run") == []
    assert salvage(tmp_path / "run").summary.outcomes["bogus"] == 3
