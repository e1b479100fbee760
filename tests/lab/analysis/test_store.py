"""Reading what an experiment left, whole or cut at any byte."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab import report
from lab.analysis.records import ExperimentConfig
from lab.analysis.store import Stored, StoreError, load, load_any, unread_metrics
from tests.lab.synthetic import Plan, write_experiment, write_run
from tests.loadgen.builders import about

SMALL = Plan(rate=50_000, duration=1.0)
FILES = (
    "experiment.json",
    "trials/01-before/summary.json",
    "trials/01-before/run.json",
    "trials/01-before/samples.jsonl",
    "trials/01-before/latency.hlog",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(
        tmp_path_factory.mktemp("whole") / "experiment",
        trials=1,
        before=SMALL,
        after=Plan(rate=5000, duration=1.0, collapse=False),
    )


def test_a_whole_experiment_lacks_nothing(whole: Path) -> None:
    stored = load(whole)
    assert stored.missing == []
    assert [len(stored.counted(arm)) for arm in ("before", "after")] == [1, 1]
    assert {sample.role for sample in stored.trials[0].samples()} == {
        "generator",
        "client",
        "server",
    }
    assert {interval.tag for interval in stored.trials[0].latencies()} == {
        "connect",
        "first_byte",
        "total",
    }


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(file=st.sampled_from(FILES), part=st.floats(0, 1))
def test_cut_at_any_byte_still_reports(whole: Path, tmp_path: Path, file: str, part: float) -> None:
    """Whichever file is cut, wherever: the reports are written, and what is missing is said."""
    directory = tmp_path / "cut"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(whole, directory)
    path = directory / file
    data = path.read_bytes()
    keep = min(len(data) - 1, int(part * len(data)))
    path.write_bytes(data[:keep])
    comparison = report.write_all(directory)
    # A cut that only takes the last newline of a JSON file takes nothing away, and growing files
    # that end after a whole line look like those of a shorter run.
    harmless = data[:keep].endswith(b"\n") or (file.endswith(".json") and keep == len(data) - 1)
    if not harmless:
        assert any(file in line for line in comparison.missing)
    page = (directory / "index.html").read_text()
    assert comparison.sentence.split("“")[0] in page
    for line in comparison.missing:
        assert line.split("(")[0].split("'")[0] in page


@pytest.mark.parametrize("file", FILES)
def test_an_absent_file_is_named(whole: Path, tmp_path: Path, file: str) -> None:
    directory = tmp_path / "lacking"
    shutil.copytree(whole, directory)
    (directory / file).unlink()
    comparison = report.write_all(directory)
    assert any(file in line for line in comparison.missing)


def test_without_experiment_json_the_folders_tell_the_arms(whole: Path, tmp_path: Path) -> None:
    directory = tmp_path / "bare"
    shutil.copytree(whole, directory)
    (directory / "experiment.json").unlink()
    comparison = report.write_all(directory)
    assert [len(arm.trials) for arm in comparison.arms] == [1, 1]
    assert any("guessed" in line for line in comparison.missing)


def test_an_interrupted_experiment_says_so_and_compares_what_there_is(tmp_path: Path) -> None:
    directory = write_experiment(
        tmp_path / "e", trials=4, before=SMALL, after=Plan(duration=1.0, cut=0.5), finished=False
    )
    comparison = report.write_all(directory)
    assert comparison.verdict == "inconclusive"
    assert "the experiment was interrupted: not all of its trials ran" in comparison.missing
    assert any("rebuilt from its samples" in line for line in comparison.missing)
    assert sum("partial" in line for line in comparison.repetitions) == 4


def test_a_generator_limited_experiment_is_no_finding(tmp_path: Path) -> None:
    directory = write_experiment(
        tmp_path / "e", trials=4, before=SMALL, after=Plan(validity="generator_limited")
    )
    comparison = report.write_all(directory)
    assert comparison.verdict == "generator_limited"
    assert all("99% of a core" in line for line in comparison.repetitions)
    assert len(comparison.repetitions) == 4


def test_a_trial_outside_the_experiment_is_not_read(whole: Path, tmp_path: Path) -> None:
    """experiment.json may come from anywhere; it does not make the reports read other places."""
    directory = tmp_path / "evil"
    shutil.copytree(whole, directory)
    path = directory / "experiment.json"
    path.write_text(path.read_text().replace("trials/01-before", "../../elsewhere"))
    assert any("lies outside" in line for line in load(directory).missing)


def test_a_single_run_is_read_as_one_arm(tmp_path: Path) -> None:
    write_run(tmp_path / "run", SMALL, seed=1)
    stored = load_any(tmp_path / "run")
    assert [arm.tuning for arm in stored.experiment.arms] == ["run"]
    assert len(stored.counted("before")) == 1


@pytest.mark.parametrize("reader", [load, load_any])
def test_nothing_there_is_one_clear_line(tmp_path: Path, reader: Callable[[Path], Stored]) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)) as caught:
        reader(tmp_path)
    assert "\n" not in str(caught.value)


def test_reasons_for_unread_metrics() -> None:
    run = about(absent={"client": {"nf_conntrack_entries": "not loaded"}, "server": {}})
    assert unread_metrics(run) == {"client.nf_conntrack_entries": "not loaded"}
    assert unread_metrics(None) == {}


RUN = {
    "calibration": {"closed_loop_rate": 31_000.0, "share": 0.5}, "rate": 15_000.0, "duration": 5.0,
    "trials": 10, "server": "memcached", "server_url": "", "tls": False, "servers": 1,
    "memcached_threads": 4, "memcached_connections": 19_936, "memcached_options": [], "source_addresses": 1, "rtt": 0.0,
    "loadgen": ["--max-lateness=0.25s"],
}  # fmt: skip
COMPOSE = {
    "name": "x", "rate": 100.0, "duration": 5.0, "trials": 1, "servers": 1, "close": "client",
    "op": "get", "timeout": 3.0, "max_lateness": 0.25, "workers": 0, "memcached_threads": 4,
    "memcached_connections": 0, "memcached_memory": 64, "memcached_options": ["-v"],
    "names": {"before": "", "after": "mine"}, "loadgen": ["--rate=100"], "notes": ["too few"],
}  # fmt: skip
ENDS: dict[str, Any] = {"gates": [], "faults": ["kill server-1 at 1s"], "notes": []}


@pytest.mark.parametrize(
    "told",
    [
        {},
        RUN | ENDS,
        RUN | {"topology": "router"} | ENDS,
        RUN | {"topology": "nat", "nat_ports": None, "nat_room": None} | ENDS,
        RUN | {"topology": "nat", "nat_ports": [1024, 1999], "nat_room": 250} | ENDS,
        RUN | {"topology": "proxy", "proxy": "haproxy"} | ENDS,
        COMPOSE,
    ],
)
def test_a_configuration_is_written_as_it_was_read(told: dict[str, Any]) -> None:
    """Each key as it was written since the first experiment: absent, null and empty are three."""
    data = msgspec.json.encode(told)
    assert msgspec.json.encode(msgspec.json.decode(data, type=ExperimentConfig)) == data


def test_what_another_version_says_beyond_that_is_passed_over() -> None:
    found = msgspec.json.decode(b'{"rate": 5, "moon": "full"}', type=ExperimentConfig)
    assert found == ExperimentConfig(rate=5.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trials.0.arm": "other"}, "is of the arm 'other': there is none"),
        ({"config.gates": [5]}, "Expected `str`, got `int` - at `$.config.gates[0]`"),
        ({"config.rate": "1e5"}, "at `$.config.rate`"),
        ({"trials.0.number": 1e300}, "at `$.trials[0].number`"),
        ({"arms.0.settings": []}, "Expected `object`, got `array` - at `$.arms[0].settings`"),
    ],
)
def test_what_no_experiment_writes_is_refused_with_its_field(
    change: dict[str, Any], said: str, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "experiment")
    path = tmp_path / "experiment" / "experiment.json"
    record = json.loads(path.read_bytes())
    for field, value in change.items():
        *way, last = (int(name) if name.isdigit() else name for name in field.split("."))
        place = record
        for name in way:
            place = place[name]
        place[last] = value
    path.write_text(json.dumps(record))
    missing = load(tmp_path / "experiment").missing
    assert missing[0].startswith("experiment.json is cut off or damaged (")
    assert said in missing[0]


def test_a_trial_that_leads_outside_is_not_read_and_not_written_to(
    whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "experiment")
    outside = tmp_path / "outside"
    shutil.move(tmp_path / "experiment" / "trials" / "01-after", outside)
    (tmp_path / "experiment" / "trials" / "01-after").symlink_to(outside)
    before = {path.name: path.stat().st_mtime_ns for path in outside.iterdir()}
    comparison = report.write_all(tmp_path / "experiment")
    assert "trials/01-after lies outside the experiment and is not read" in comparison.missing
    assert {path.name: path.stat().st_mtime_ns for path in outside.iterdir()} == before
