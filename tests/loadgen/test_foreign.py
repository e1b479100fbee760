"""Text from elsewhere is harmless wherever it ends: a table of sequences, and each writer."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.analysis import store
from lab.compose.variables import render as variables
from lab.report import html, writing
from lab.report import junit as lab_junit
from lab.report import markdown as lab_markdown
from lab.report.terminal import render as lab_text
from lab.sysctl.reading import read
from loadgen.foreign import cell, harmless, markdown, markup, one_line
from loadgen.report import junit, recording, table, text
from loadgen.report.page import run as page
from loadgen.run.stored import salvage
from loadgen.sample import Sample
from loadgen.summary import Notice, ThresholdResult, Verdict
from loadgen.watch.courses import Boiled
from loadgen.watch.recording import Head
from tests.lab.synthetic import write_experiment
from tests.loadgen.synthetic import Plan, write_run
from tests.mangling.cases import CONTROL
from tests.mangling.damage import SEQUENCES

SMALL: Final = Plan(rate=500, duration=0.5, collapse=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no tuning 'é😀'", "no tuning 'é😀'"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b]0;X\x07\x1b[2J", r"\x1b]0;X\x07\x1b[2J"),
        ("\x85\u2028\u202e", r"\x85\u2028\u202e"),
        ("x\udcff", r"x\udcff"),
        ("\x00\x7f", r"\x00\x7f"),
    ],
)
def test_a_message_is_one_line_whatever_is_in_it(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_an_endless_message_keeps_its_beginning_and_its_end() -> None:
    line = one_line("wrong: " + "x" * 100_000 + "; do this")
    assert line.startswith("wrong: x")
    assert line.endswith("x; do this")
    assert len(line) < 1010


@given(st.text(max_size=50))
def test_one_line_is_printable_and_stays_as_it_is(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert one_line(line) == line


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_no_sequence_gets_through_any_function(sequence: str) -> None:
    for function in (harmless, one_line, markdown, markup, lambda text: str(cell(text))):
        shown = function(f"before{sequence}after")
        assert not CONTROL.search(shown)
        assert shown.startswith("before")
        assert shown.endswith("after")


@given(st.text(max_size=40))
def test_harmless_text_can_be_written_and_stays_as_it_is(foreign: str) -> None:
    shown = harmless(foreign)
    assert not CONTROL.search(shown)
    shown.encode()
    assert harmless(shown) == shown
    assert (ET.fromstring(f"<a>{markup(foreign)}</a>").text or "") == shown


@pytest.mark.parametrize("text", ["", "plain", "é 漢 😀", "a\tb\nc", "–", "a\u00a0b"])
def test_what_is_read_by_people_stays(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("\t=1", "'\t=1"),
        ("client", "client"),
        (-1, -1),
        (1.5, 1.5),
    ],
)
def test_no_cell_is_a_formula_and_numbers_stay(value: object, shown: object) -> None:
    assert cell(value) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("[x](y)", r"\[x\](y)"),
        ("<b>", r"\<b\>"),
        ("one\n# two", r"one \# two"),
        ("\x1b[2J", r"\\x1b\[2J"),
    ],
)
def test_markdown_shows_it_as_it_is(text: str, shown: str) -> None:
    assert markdown(text) == shown


# --- every writer -------------------------------------------------------------------------------


def of_a_run(folder: Path, sequence: str) -> dict[str, str]:
    """Return what the writers of a run make of one whose texts have a sequence in them."""
    write_run(folder / "run", SMALL, seed=1)
    found = salvage(folder / "run")
    assert found.about is not None
    environment = msgspec.structs.replace(
        found.summary.environment, kernel=sequence, churnlab=sequence, host=sequence
    )
    summary = msgspec.structs.replace(
        found.summary,
        environment=environment,
        outcomes={**found.summary.outcomes, sequence: 1},
        warnings=[Notice(code=sequence, text=sequence, remedy=sequence)],
        validity="partial",
        verdict=Verdict(
            passed=False,
            thresholds=[ThresholdResult(expression=sequence, value=1.0, passed=False)],
        ),
    )
    config = msgspec.structs.replace(summary.config, targets=[sequence], op=sequence)
    summary = msgspec.structs.replace(summary, config=config)
    samples = [Sample(0.0, sequence, {sequence: 1}), *found.samples]
    found = msgspec.structs.replace(
        found, summary=summary, samples=samples, missing=[f"{sequence} is missing"]
    )
    return {
        "terminal": text.render(summary, Path(f"a{sequence}".replace("\x00", ""))),
        "page": page.render(found, [sequence]),
        "junit": junit.render(summary).decode(),
        "csv": table.render([({sequence: sequence}, samples)]).decode(),
    }


def of_an_experiment(folder: Path, sequence: str) -> dict[str, str]:
    """Return what the lab's writers make of an experiment whose texts have a sequence in them."""
    write_experiment(folder / "experiment", trials=1, before=SMALL, after=SMALL)
    stored = store.load(folder / "experiment")
    arms = [
        msgspec.structs.replace(
            arm, tuning=sequence, source=sequence, settings={sequence: sequence}
        )
        for arm in stored.experiment.arms
    ]
    experiment = msgspec.structs.replace(
        stored.experiment, name=sequence, testbed=sequence, arms=arms
    )
    stored = msgspec.structs.replace(stored, experiment=experiment, missing=[sequence])
    comparison = writing.compare_stored(stored)
    return {
        "terminal": lab_text(comparison),
        "page": html.render(stored, comparison),
        "markdown": lab_markdown.render(experiment, comparison),
        "junit": lab_junit.render(comparison),
    }


def of_a_recording(_: Path, sequence: str) -> dict[str, str]:
    """Return what a recording of a host with such a name is told as."""
    head = Head(time=0, host=sequence, namespace=sequence, kernel=sequence, interval=1, sysctls={})
    boiled = Boiled(head=head, began=0.0, ended=1.0)
    return {"terminal": recording.text(recording.tell(boiled), sequence)}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("writers", [of_a_run, of_an_experiment, of_a_recording])
def test_no_sequence_gets_through_any_writer(
    writers: Callable[[Path, str], dict[str, str]], sequence: str, tmp_path: Path
) -> None:
    for name, written in writers(tmp_path, sequence).items():
        found = CONTROL.search(written)
        assert found is None, f"{found[0]!r} in {name}"
        if name == "junit":
            ET.fromstring(written)
        if name == "page":
            assert "<img src=x" not in written
            assert not re.search(r'href="\s*javascript:', written)
        if name == "csv":
            for row in csv.reader(io.StringIO(written)):
                assert not any(entry.startswith(("=", "@")) for entry in row)


def test_the_name_of_a_file_is_no_variable() -> None:
    tuning = read(b"net.ipv4.tcp_tw_reuse = 1\n", name="a\nEVIL=1", source="./a\nEVIL=1.conf")
    lines = variables({"before": tuning, "after": tuning}).splitlines()
    assert not any(line.startswith("EVIL") for line in lines)


@pytest.mark.parametrize("package", ["loadgen", "lab"])
def test_commands_print_through_what_makes_text_harmless(package: str) -> None:
    """`tell`, `say` and `fail` of loadgen.cli.group; click.echo prints what it is given."""
    for path in (Path(__file__).parents[2] / package).rglob("*.py"):
        if path.name != "group.py":
            assert "click.echo(" not in path.read_text(), path
