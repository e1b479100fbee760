"""The dot plot: where things are, and that it is a picture whatever it is given."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.report.dotplot import Axis, Kind, Mark, PlotRow, draw

LEGEND: list[tuple[Kind, str]] = [("good", "nothing lost")]


def axis(low: float = 0.0, high: float = 10.0, *, log: bool = False) -> Axis:
    return Axis(title="x", low=low, high=high, log=log)


@pytest.mark.parametrize(
    ("scale", "x", "place"),
    [
        (axis(), 0, 0.0),
        (axis(), 5, 0.5),
        (axis(), 10, 1.0),
        (axis(), 99, 1.0),
        (axis(), -1, 0.0),
        (axis(1, 10_000, log=True), 100, 0.5),
    ],
)
def test_places(scale: Axis, x: float, place: float) -> None:
    assert scale.place(x) == pytest.approx(place)


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (axis(), [0, 2, 4, 6, 8, 10]),
        (axis(-0.08, 0.08), [-0.05, 0, 0.05]),
        (axis(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (axis(100, 1_000, log=True), [100, 200, 500, 1_000]),
        (axis(1, 1e6, log=True), [1, 10, 100, 1e3, 1e4, 1e5, 1e6]),
    ],
)
def test_ticks_are_round(scale: Axis, ticks: list[float]) -> None:
    assert scale.ticks() == pytest.approx(ticks)


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True)])
def test_an_axis_that_cannot_be(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        axis(low, high, log=log)


_kinds: st.SearchStrategy[Kind] = st.sampled_from(["good", "bad", "unsure", "expected", "middle"])


@given(
    low=st.floats(1e-3, 1e6),
    factor=st.floats(1.01, 1e6),
    log=st.booleans(),
    marks=st.lists(st.tuples(st.floats(0, 1e9), _kinds, st.text(max_size=5)), max_size=5),
    label=st.text(st.characters(categories=["L", "P", "S"]), max_size=10),
)
def test_any_plot_is_well_formed(
    low: float,
    factor: float,
    log: bool,
    marks: list[tuple[float, Kind, str]],
    label: str,
) -> None:
    scale = axis(low, low * factor, log=log)
    row = PlotRow(
        label=label,
        note=label,
        span=(low, low * factor),
        marks=tuple(Mark(x, kind, f"{says!r}") for x, kind, says in marks),
    )
    root = ET.fromstring(draw([row], scale, title=label, legend=LEGEND))
    assert root.get("aria-label") == label
    assert len(list(root.iter("{http://www.w3.org/2000/svg}title"))) == len(marks)
    assert len(scale.ticks()) <= 8
