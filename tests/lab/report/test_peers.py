"""The reports beside the page: JSON and its schema, JUnit, Markdown, terminal, the list."""

import json
import shutil
from pathlib import Path
from typing import get_args

import jsonschema
import junitparser
import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from lab import report, schemas
from lab.analysis.exit import exit_code
from lab.analysis.gates import parse_gate
from lab.analysis.records import (
    Comparison,
    ExperimentConfig,
    Gate,
    HostFigure,
    Prediction,
    VerdictName,
)
from lab.analysis.store import StoreError, load
from lab.analysis.verdict import FAILS, REGRESSION
from lab.report import hlog, html, json_, junit, markdown, terminal
from lab.report.view import LABELS
from loadgen.errors import Exit
from tests.lab.synthetic import HOSTILE, Plan, write_experiment, write_run

OPEN = {"about.schema.json", "snapshot.schema.json"}
"""Records that allow fields to be added: a reader of them passes over what it does not know."""
PUBLISHED = Path(__file__).parents[3] / "docs" / "schema"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_experiment(tmp_path_factory.mktemp("peers") / "demo")
    report.write_all(path)
    return path


@pytest.fixture(scope="module")
def comparison(directory: Path) -> Comparison:
    return msgspec.json.decode((directory / "comparison.json").read_bytes(), type=Comparison)


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_published_schema_is_the_record(name: str) -> None:
    """After a change of a record: write `lab.schemas.schema_text(name)` to docs/schema."""
    assert (PUBLISHED / name).read_text() == schemas.schema_text(name)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("about.schema.json", "trials/01-before/run.json"),
        ("snapshot.schema.json", "trials/01-before/snapshots/dropped_overdue.json"),
        ("comparison.schema.json", "comparison.json"),
        ("experiment.schema.json", "experiment.json"),
        ("run.schema.json", "trials/01-before/summary.json"),
    ],
)
def test_schema_validates_what_is_written(directory: Path, name: str, file: str) -> None:
    validator = jsonschema.Draft202012Validator(schemas.schema(name))
    written = json.loads((directory / file).read_text())
    validator.validate(written)
    if name not in OPEN:
        assert not validator.is_valid(written | {"surprise": 1})
    assert not validator.is_valid(written | {"schema": 1})


def test_json_is_short_and_says_the_same(comparison: Comparison) -> None:
    """What fits on a line is on one, and nothing is lost by that."""
    text = json_.render(comparison)
    assert msgspec.json.decode(text, type=Comparison) == comparison
    lines = text.splitlines()
    assert len(lines) < len(msgspec.json.format(text.encode(), indent=2).splitlines()) / 1.5
    assert max(map(len, lines)) < 2 * max(len(comparison.sentence), 110)


def test_latencies_of_an_arm_are_read_by_hdrhistogram(directory: Path) -> None:
    """As its own log reader reads them: counts and percentiles of every trial and latency."""
    stored = load(directory)
    for arm in ("before", "after"):
        reader = HistogramLogReader(
            str(directory / f"latency-{arm}.hlog"), HdrHistogram(1, 10**9, 2)
        )
        found: dict[str, list[HdrHistogram]] = {}
        while (histogram := reader.get_next_interval_histogram()) is not None:
            found.setdefault(histogram.tag, []).append(histogram)
        reader.close()
        assert set(found) == {"connect", "first_byte", "total"}
        for trial, histogram in zip(stored.counted(arm), found["total"], strict=True):
            assert trial.summary is not None
            total = trial.summary.latency["total"]
            assert histogram.get_total_count() == total.count
            assert histogram.get_value_at_percentile(99) / 1e6 == pytest.approx(total.p99, rel=0.01)


def test_no_latencies_no_log(tmp_path: Path) -> None:
    path = write_experiment(tmp_path / "e", trials=1, before=Plan(rate=0.1), after=Plan(duration=1))
    assert set(hlog.render(load(path))) == {"latency-after.hlog"}


def test_schema_validates_samples(directory: Path) -> None:
    validator = jsonschema.Draft202012Validator(schemas.schema("sample.schema.json"))
    for line in (directory / "trials/01-before/samples.jsonl").read_text().splitlines()[:50]:
        validator.validate(json.loads(line))


def test_junit_is_read_by_junitparser(comparison: Comparison) -> None:
    [suite] = junitparser.JUnitXml.fromstring(junit.render(comparison).encode())
    assert (suite.tests, suite.failures, suite.errors) == (2, 0, 0)
    assert [case.name for case in suite] == ["verdict", "failed: rate == 0"]
    assert all(case.is_passed for case in suite)


@pytest.mark.parametrize("verdict", get_args(VerdictName))
@pytest.mark.parametrize("fails", [FAILS, REGRESSION])
@pytest.mark.parametrize("passed", [True, False])
def test_junit_agrees_with_the_exit_code(
    comparison: Comparison, verdict: VerdictName, fails: frozenset[VerdictName], passed: bool
) -> None:
    gate = Gate(expression="e", arm="after", value="1", passed=passed)
    found = msgspec.structs.replace(comparison, verdict=verdict, gates=[gate])
    [suite] = junitparser.JUnitXml.fromstring(junit.render(found, fails).encode())
    code = exit_code(found, fails)
    assert (code == Exit.PASS) == (suite.failures + suite.errors == 0)
    assert (code == Exit.FAILED) == (suite.failures > 0)


@pytest.mark.parametrize(
    ("verdict", "failures", "errors"),
    [
        ("prevents", 1, 0), ("reduces", 1, 0), ("no_effect", 2, 0), ("worse", 2, 0),
        ("inconclusive", 1, 1), ("generator_limited", 1, 1), ("hides", 2, 0),
        ("not_exercised", 1, 1),
    ],
)  # fmt: skip
def test_junit_counts_gates_and_verdict(
    comparison: Comparison, verdict: str, failures: int, errors: int
) -> None:
    gate = Gate(expression="x < 1 & \x00", arm="after", value=HOSTILE, passed=False)
    changed = msgspec.structs.replace(comparison, verdict=verdict, gates=[gate])
    [suite] = junitparser.JUnitXml.fromstring(junit.render(changed).encode())
    assert (suite.failures, suite.errors) == (failures, errors)
    last = list(suite)[-1]
    assert last.result[0].message == HOSTILE


def test_markdown_says_the_verdict_first_and_fits_a_comment(
    directory: Path, comparison: Comparison
) -> None:
    text = markdown.render(load(directory).experiment, comparison)
    assert text.startswith("## ✓ Prevents the failures")
    assert "81." in text
    assert len(text) < 60_000, "GitHub refuses comments beyond 65,536 characters"
    assert "<script" not in text


def test_markdown_escapes_what_it_is_given(directory: Path, comparison: Comparison) -> None:
    name = "a|b\n# c <b> @all"
    arms = [msgspec.structs.replace(arm, tuning=name) for arm in comparison.arms]
    hostile = msgspec.structs.replace(comparison, name=name, arms=arms, missing=[HOSTILE])
    text = markdown.render(load(directory).experiment, hostile)
    assert r"a\|b \# c \<b\> \@all" in text.splitlines()[0]
    assert "<img" not in text.replace(r"\<img", "")


def test_markdown_stays_short_with_many_lines(directory: Path, comparison: Comparison) -> None:
    long = msgspec.structs.replace(comparison, missing=[f"file {n}" for n in range(5000)])
    text = markdown.render(load(directory).experiment, long)
    assert "and 4988 more" in text
    assert len(text) < 60_000


def test_terminal_has_the_verdict_and_every_metric(comparison: Comparison) -> None:
    text = terminal.render(comparison, width=100)
    assert "Prevents the failures" in text
    for title in ("Connections lost", "Time inside one connect() call"):
        assert title in text
    assert "−100% better" in text
    assert max(map(len, text.splitlines())) <= 100


def test_terminal_takes_no_markup_from_outside(comparison: Comparison) -> None:
    text = terminal.render(msgspec.structs.replace(comparison, missing=["[bold]x[/bold] [/]"]))
    assert "[bold]x[/bold] [/]" in text


def test_relative_gates_reach_every_report(directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "gated"
    shutil.copytree(directory, copy)
    gates = [parse_gate("latency_total: p(99) <= +5% vs before")]
    comparison = report.write_all(copy, gates=gates)
    assert [gate.passed for gate in comparison.gates] == [True, True]
    for name in ("index.html", "summary.md", "junit.xml", "comparison.json"):
        assert "vs before" in (copy / name).read_text()


def test_the_list_names_every_experiment_newest_first(tmp_path: Path) -> None:
    for name in ("one", "two", "damaged"):
        write_experiment(tmp_path / name, trials=1)
        report.write_all(tmp_path / name)
    text = (tmp_path / "two" / "experiment.json").read_text()
    (tmp_path / "two" / "experiment.json").write_text(text.replace("2026-11-20", "2026-11-21"))
    (tmp_path / "damaged" / "comparison.json").write_text("{")
    (tmp_path / "damaged" / "experiment.json").unlink()
    page = report.reports_index(tmp_path).read_text()
    places = [page.index(f'href="{name}/index.html"') for name in ("two", "one", "damaged")]
    assert places == sorted(places)
    assert "Cannot be read" in page


def test_an_empty_folder_has_an_empty_list(tmp_path: Path) -> None:
    assert "None yet" in report.reports_index(tmp_path).read_text()


class TestAcross:
    """`lab compare A B`."""

    def test_two_experiments_compare_their_after_arms(
        self, directory: Path, tmp_path: Path
    ) -> None:
        found = report.compare_across(str(directory), str(directory), out=tmp_path / "out")
        assert (found.verdict, found.differences) == ("no_effect", [])
        assert all("article" in arm.tuning for arm in found.arms)
        assert (tmp_path / "out" / "index.html").exists()

    def test_an_arm_can_be_named(self, directory: Path) -> None:
        found = report.compare_across(f"{directory}:before", f"{directory}:after")
        assert found.verdict == "prevents"

    def test_what_differs_is_said_loudly(self, directory: Path, tmp_path: Path) -> None:
        other = write_experiment(tmp_path / "other", after=Plan(rate=10_000, collapse=False))
        for path in other.glob("trials/*/summary.json"):
            path.write_text(path.read_text().replace("6.18.44", "6.1.0"))
        found = report.compare_across(str(directory), str(other), out=tmp_path / "out")
        assert found.verdict == "inconclusive"
        assert found.sentence.startswith("The load was not the same (rate")
        assert "kernel: 6.18.44 before, 6.1.0 after" in found.differences
        assert "Besides the tuning, this differs" in (tmp_path / "out/index.html").read_text()

    def test_single_runs_compare_but_settle_nothing(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write_run(tmp_path / name, Plan(collapse=name == "a"), seed=1)
        found = report.compare_across(str(tmp_path / "a"), str(tmp_path / "b"))
        assert found.verdict == "inconclusive"
        assert [len(arm.trials) for arm in found.arms] == [1, 1]

    def test_arms_of_two_experiments_did_not_take_turns(
        self, directory: Path, tmp_path: Path
    ) -> None:
        """The same tuning on another day, with another memcached: loud, but not inconclusive."""
        other = write_experiment(tmp_path / "other", config=ExperimentConfig(memcached_threads=1))
        again = write_experiment(tmp_path / "again", config=ExperimentConfig(memcached_threads=8))
        path = again / "experiment.json"
        path.write_text(
            path.read_text().replace('"net.core.somaxconn": "4096"', '"net.core.somaxconn": "16"')
        )
        found = report.compare_across(str(other), str(again), out=tmp_path / "out")
        assert found.verdict == "no_effect"
        assert found.sentence.startswith("Not the tuning alone: ")
        names = [line.partition(": ")[0] for line in found.differences]
        assert names == [
            "memcached threads", "client net.core.somaxconn", "server net.core.somaxconn",
            "time (the arms did not take turns)",
        ]  # fmt: skip
        for name in ("index.html", "summary.md", "comparison.json"):
            assert "the arms did not take turns" in (tmp_path / "out" / name).read_text()
        [suite] = junitparser.JUnitXml.fromfile(str(tmp_path / "out" / "junit.xml"))
        assert suite.failures == 0, "of two stored results the second is only not to be worse"

    def test_gates_judge_the_second_against_the_first(self, directory: Path) -> None:
        gate = parse_gate("lost: rate <= +5% vs before")
        worse = report.compare_across(f"{directory}:after", f"{directory}:before", gates=[gate])
        assert [g.passed for g in worse.gates if "vs" in g.expression] == [False]
        same = report.compare_across(str(directory), str(directory), gates=[gate])
        assert [g.passed for g in same.gates if "vs" in g.expression] == [True]

    def test_settings_of_single_runs_are_read_from_them(self, tmp_path: Path) -> None:
        for name, ports in (("a", "32768 60999"), ("b", "5000 65000")):
            write_run(tmp_path / name, Plan(duration=1), seed=1)
            path = tmp_path / name / "run.json"
            path.write_text(path.read_text().replace("32768\\t60999", ports))
        report.compare_across(str(tmp_path / "a"), str(tmp_path / "b"), out=tmp_path / "out")
        html = (tmp_path / "out/index.html").read_text()
        assert "<code>5000 65000</code>" in html
        assert "<code>32768 60999</code>" in html

    def test_a_missing_arm_is_one_clear_line(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", Plan(), seed=1)
        with pytest.raises(StoreError, match="has no arm 'after'"):
            report.compare_across(f"{tmp_path / 'a'}:after", str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("verdict", "words", "tone"),
    [
        ("hides", "Hides the failures, does not prevent them", "tone-mask"),
        ("not_exercised", "Nothing was put to the test", "tone-idle"),
    ],
)
def test_a_verdict_that_is_no_success_is_told_by_every_writer(
    directory: Path, comparison: Comparison, verdict: VerdictName, words: str, tone: str
) -> None:
    found = msgspec.structs.replace(comparison, verdict=verdict, gates=[])
    stored = load(directory)
    assert words in terminal.render(found)
    assert words in markdown.render(stored.experiment, found)
    page = html.render(stored, found, directory)
    assert words in page
    assert f'class="verdict {tone}"' in page
    assert f".{tone} {{" in page, "a colour of its own"
    assert json.loads(json_.render(found))["verdict"] == verdict
    [suite] = junitparser.JUnitXml.fromstring(junit.render(found).encode())
    assert suite.failures + suite.errors == 1
    assert exit_code(found) != Exit.PASS
    tones = [tone for tone, _, _ in LABELS.values()]
    assert tones.count(LABELS[verdict][0]) == 1


def test_what_each_host_held_is_told_by_every_writer(
    directory: Path, comparison: Comparison
) -> None:
    rows = [
        HostFigure(role="nat", name="connections tracked, at most", before=262_144, after=1_234),
        HostFigure(role="nat", name="dropped & <b>lost</b>", before=7, after=None),
    ]
    found = msgspec.structs.replace(comparison, hosts=rows)
    stored = load(directory)
    for text in (
        terminal.render(found),
        markdown.render(stored.experiment, found),
        html.render(stored, found, directory),
    ):
        assert "connections tracked, at most" in text
        assert "262,144" in text
        assert "1,234" in text
    assert "<b>lost</b>" not in html.render(stored, found, directory)
    assert json.loads(json_.render(found))["hosts"][0]["after"] == 1_234


def test_a_prediction_that_failed_is_shown_as_wrong_by_every_writer(
    directory: Path, comparison: Comparison
) -> None:
    wrong = Prediction(
        name="before: connections until the ports run out", predicted=1_000, measured=None,
        outcome="never", wrong=True,
    )  # fmt: skip
    found = msgspec.structs.replace(comparison, predictions=[wrong])
    stored = load(directory)
    for text in (
        terminal.render(found),
        markdown.render(stored.experiment, found),
        html.render(stored, found, directory),
    ):
        assert "never" in text
        assert "wrong" in text
