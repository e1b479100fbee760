"""Runs, ratios and spreads: the arithmetic that every figure of docs/performance.md went through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Run, in_turn, ratios, spread
from bench.table import table


def test_a_run_s_figures_are_per_second_and_per_connection() -> None:
    run = Run(connections=50_000, seconds=2.0, user=0.25, system=1.75)
    assert run.rate == 25_000
    assert (run.user_each, run.system_each, run.cpu_each) == (5.0, 35.0, 40.0)


@pytest.mark.parametrize(
    ("values", "median", "low", "high"),
    [([3.0], 3.0, 3.0, 3.0), ([4.0, 1.0, 2.0], 2.0, 1.0, 4.0), ([1.0, 2.0], 1.5, 1.0, 2.0)],
)
def test_a_spread_is_the_median_and_the_whole_range(
    values: list[float], median: float, low: float, high: float
) -> None:
    found = spread(values)
    assert (found.median, found.low, found.high, found.n) == (median, low, high, len(values))


def test_a_spread_in_words() -> None:
    assert spread([1000.0, 3000.0, 2000.0]).text() == "2,000 (1,000–3,000)"
    assert spread([0.5]).text(".2f") == "0.50 (0.50–0.50)"


def test_no_values_have_no_spread() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=20), st.floats(0.1, 10))
def test_ratios_are_taken_pair_by_pair(values: list[float], factor: float) -> None:
    """What weighs on both sides of a pair leaves the ratio as it is."""
    found = ratios([value * factor for value in values], values)
    assert found == pytest.approx([factor] * len(values))


def test_unequal_series_have_no_ratios() -> None:
    with pytest.raises(ValueError, match="longer"):
        ratios([1.0], [1.0, 2.0])


def test_the_sides_take_turns() -> None:
    assert list(in_turn(["a", "b"], 2)) == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


def test_a_table_has_its_first_column_to_the_left() -> None:
    assert table(("name", "n"), [("a", "1,000"), ("long name", "2")]) == (
        "name           n\na          1,000\nlong name      2"
    )


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="cells"):
        table(("name", "n"), [("a",)])
