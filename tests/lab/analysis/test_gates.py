"""Relative gates."""

import re

import msgspec
import pytest

from lab.analysis.gates import is_relative, parse_gate
from loadgen.summary import Summary
from loadgen.thresholds import ThresholdError
from tests.lab.synthetic import Plan, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return write_run(tmp_path_factory.mktemp("run") / "run", Plan(collapse=False), seed=2)


def arms(run: Summary, old: float, new: float, n: int = 5) -> tuple[list[Summary], list[Summary]]:
    """Two arms whose p99 of the whole request is `old` and `new`."""

    def arm(value: float) -> list[Summary]:
        total = msgspec.structs.replace(run.latency["total"], p99=value)
        return [msgspec.structs.replace(run, latency={**run.latency, "total": total})] * n

    return arm(old), arm(new)


@pytest.mark.parametrize(
    ("expression", "old", "new", "passed"),
    [
        ("latency_total: p(99) <= +5% vs before", 0.001, 0.00104, True),
        ("latency_total: p(99) <= +5% vs before", 0.001, 0.00106, False),
        ("latency_total: p(99) <= +5% vs before", 0.001, 0.0005, True),
        ("latency_total: p(99) < -50 % vs before", 0.001, 0.0006, False),
        ("latency_total: p(99) < -50% vs before", 0.001, 0.0004, True),
        ("latency_total: p(99) <= 5% vs before", 0.0, 0.0, True),
        ("latency_total: p(99) <= 5% vs before", 0.0, 0.001, False),
    ],
)
def test_gate(run: Summary, expression: str, old: float, new: float, passed: bool) -> None:
    assert parse_gate(expression).check(*arms(run, old, new)).passed is passed


def test_a_change_that_chance_explains_breaks_nothing(run: Summary) -> None:
    gate = parse_gate("latency_total: p(99) <= +5% vs before").check(*arms(run, 0.001, 1, n=3))
    assert gate.passed
    assert "no detectable change" in gate.value


def test_what_was_not_measured_does_not_pass(run: Summary) -> None:
    blind = [msgspec.structs.replace(run, latency={})] * 5
    gate = parse_gate("latency_total: p(99) <= +5% vs before").check(blind, blind)
    assert (gate.passed, gate.value) == (False, "not measured")


@pytest.mark.parametrize(
    ("expression", "message", "column"),
    [
        ("latency_totl: p(99) <= +5% vs before", "latency_total", 0),
        ("latency_total: p(98) <= +5% vs before", "p(98)", 15),
        ("latency_total: p(99) == +5% vs before", "bounded with", 21),
        ("latency_total: p(99) <= five vs before", "expected", 24),
        ("latency_total: p(99) <= +5% vs befor", "expected", 31),
        ("latency_total: p(99) <= +5 vs before", "expected", 27),
        ("latency_total: p(99) <= +5% vs before now", "expected", 38),
        ("latency_total <= +5% vs before", "METRIC", 18),
    ],
)
def test_errors_point_at_the_character(expression: str, message: str, column: int) -> None:
    with pytest.raises(ThresholdError, match=re.escape(message)) as caught:
        parse_gate(expression)
    place = "the end" if column == len(expression) else f"character {column + 1}"
    assert str(caught.value).endswith(f"; at {place} of {expression!r}")


def test_relative_is_told_from_absolute() -> None:
    assert is_relative("failed: rate <= +1% vs before")
    assert not is_relative("failed: rate == 0")
