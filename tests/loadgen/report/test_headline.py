"""The result of a run in a few words."""

from pathlib import Path

import msgspec
import pytest

from loadgen.report.headline import headline
from loadgen.summary import Summary, ThresholdResult, Validity, Verdict
from tests.loadgen.synthetic import Plan, write_run


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return write_run(tmp_path_factory.mktemp("lost") / "run", Plan(), seed=1)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return write_run(tmp_path_factory.mktemp("clean") / "run", Plan(collapse=False), seed=1)


def test_everything_was_served(clean: Summary) -> None:
    found = headline(clean)
    assert (found.tone, found.words) == ("good", "Every connection was served")
    assert found.sentence == "Of 100,000 connections in 5 s, 100,000 were served, 20,000/s."


def test_a_loss_says_when_and_why(lost: Summary) -> None:
    found = headline(lost)
    assert found.words.endswith("% of the connections were lost")
    assert f"Of 100,000 connections in 5 s, {lost.ok:,} were served and {lost.dropped:,} (" in (
        found.sentence
    )
    assert "beginning" in found.sentence
    assert found.sentence.endswith(": connect() searched ever longer for a free port.")


@pytest.mark.parametrize(
    ("validity", "words"),
    [("generator_limited", "the generator was the limit"), ("partial", "Not the whole run")],
)
def test_what_is_not_valid_is_said_before_anything_else(
    clean: Summary, validity: Validity, words: str
) -> None:
    gate = Verdict(
        passed=False, thresholds=[ThresholdResult(expression="e", value=1, passed=False)]
    )
    found = headline(msgspec.structs.replace(clean, validity=validity, verdict=gate))
    assert found.tone == "warn"
    assert words in found.words


def test_a_run_cut_short_says_how_far_it_came(clean: Summary) -> None:
    found = headline(msgspec.structs.replace(clean, validity="partial", elapsed=2.0))
    assert found.sentence.startswith("Of 100,000 connections in 2 s of 5 s, ")


def test_a_broken_gate_is_named_with_what_was_measured(lost: Summary) -> None:
    gates = [
        ThresholdResult(expression="lost: rate == 0", value=0.25, passed=False),
        ThresholdResult(expression="latency_total: max < 1ms", value=None, passed=False),
    ]
    found = headline(msgspec.structs.replace(lost, verdict=Verdict(passed=False, thresholds=gates)))
    assert (found.tone, found.words) == ("bad", "2 gates failed")
    assert found.sentence.endswith(
        "Broken: lost: rate == 0 (measured 25.0%); latency_total: max < 1ms (not measured)."
    )


def test_a_run_without_arrivals(tmp_path: Path) -> None:
    empty = write_run(tmp_path / "run", Plan(cut=0.0), seed=1)
    assert headline(empty).sentence == "No connection was due."
