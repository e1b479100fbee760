"""The reports beside the page: JSON and its schema, JUnit, Markdown, terminal, the list."""

import json
import shutil
from pathlib import Path

import jsonschema
import junitparser
import msgspec
import pytest

from lab import report
from lab.gates import parse_gate
from lab.records import Comparison, Gate
from lab.report import json_, junit, markdown, terminal
from lab.store import StoreError, load
from tests.lab.synthetic import HOSTILE, Plan, write_experiment, write_run

PUBLISHED = Path(__file__).parents[3] / "docs" / "schema"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_experiment(tmp_path_factory.mktemp("peers") / "demo")
    report.write_all(path)
    return path


@pytest.fixture(scope="module")
def comparison(directory: Path) -> Comparison:
    return msgspec.json.decode((directory / "comparison.json").read_bytes(), type=Comparison)


@pytest.mark.parametrize("name", json_.SCHEMAS)
def test_published_schema_is_the_record(name: str) -> None:
    """After a change of a record: write `lab.report.json_.schema_text(name)` to docs/schema."""
    assert (PUBLISHED / name).read_text() == json_.schema_text(name)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("comparison.schema.json", "comparison.json"),
        ("experiment.schema.json", "experiment.json"),
        ("run.schema.json", "trials/01-before/summary.json"),
    ],
)
def test_schema_validates_what_is_written(directory: Path, name: str, file: str) -> None:
    validator = jsonschema.Draft202012Validator(json_.schema(name))
    written = json.loads((directory / file).read_text())
    validator.validate(written)
    assert not validator.is_valid(written | {"surprise": 1})
    assert not validator.is_valid(
        {k: v for k, v in written.items() if k != "schema"} | {"schema": 1}
    )


def test_schema_validates_samples(directory: Path) -> None:
    validator = jsonschema.Draft202012Validator(json_.schema("sample.schema.json"))
    for line in (directory / "trials/01-before/samples.jsonl").read_text().splitlines()[:50]:
        validator.validate(json.loads(line))


def test_junit_is_read_by_junitparser(comparison: Comparison) -> None:
    [suite] = junitparser.JUnitXml.fromstring(junit.render(comparison).encode())
    assert (suite.tests, suite.failures, suite.errors) == (2, 0, 0)
    assert [case.name for case in suite] == ["verdict", "failed: rate == 0"]
    assert all(case.is_passed for case in suite)


@pytest.mark.parametrize(
    ("verdict", "failures", "errors"),
    [
        ("prevents", 1, 0), ("reduces", 1, 0), ("no_effect", 2, 0), ("worse", 2, 0),
        ("inconclusive", 1, 1), ("generator_limited", 1, 1),
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

    def test_a_missing_arm_is_one_clear_line(self, tmp_path: Path) -> None:
        write_run(tmp_path / "a", Plan(), seed=1)
        with pytest.raises(StoreError, match="has no arm 'after'"):
            report.compare_across(f"{tmp_path / 'a'}:after", str(tmp_path / "a"))
