"""Numbers as people read them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.analysis import text
from lab.analysis.records import Estimate, MetricComparison
from loadgen.report.numbers import sentence


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0%"), (1, "100%"), (0.6123, "61.2%"), (0.005, "0.5%"), (0.00001, "0.001%"),
        (0.999, "99.9%"), (0.99999, "99.999%"), (1e-9, "1e-07%"),
    ],
)  # fmt: skip
def test_share(value: Any, shown: str) -> None:
    assert text.share(value) == shown


@given(st.floats(0, 1))
def test_share_says_nothing_and_all_only_when_exact(value: Any) -> None:
    shown = text.share(value)
    assert (shown == "0%") == (value == 0)
    assert (shown in {"100%", "100.0%"}) == (value == 1)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 s"), (9.44e-6, "9.44 µs"), (340e-6, "340 µs"), (0.00123, "1.23 ms"),
        (0.9999, "1.00 s"), (3.06, "3.06 s"), (60, "60.0 s"), (0.000999999, "1.00 ms"),
    ],
)  # fmt: skip
def test_seconds(value: Any, shown: str) -> None:
    assert text.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (14116, "1", "14,116"), (2.5, "1", "2.50"), (None, "s", "–"), (0, "/s", "0/s"),
        (19999.6, "/s", "20,000/s"), (0.5, "share", "50.0%"),
    ],
)  # fmt: skip
def test_quantity(value: Any, unit: str, shown: str) -> None:
    assert text.quantity(value, unit) == shown


def metric(
    before: float, after: float | None, *, significant: bool = True, unit: str = "1"
) -> MetricComparison:
    def estimate(value: float | None) -> Estimate | None:
        return None if value is None else Estimate(median=value, ci=(0, 0), confidence=1, n=1)

    change = (after - before) / before if before and after is not None else None
    return MetricComparison(
        name="x",
        unit=unit,
        better="lower",
        before=estimate(before),
        after=estimate(after),
        change=change,
        p=0.01,
        effect=1,
        significant=significant,
    )


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (metric(100, 150), "+50.0%"),
        (metric(100, 50), "−50.0%"),
        (metric(100, 0), "−100%"),
        (metric(100, 700), "×7.0"),
        (metric(0, 300), "+300"),
        (metric(100, 101, significant=False), "~"),
        (metric(100, None), "–"),
        (metric(100, 100), "–"),
        (metric(0, 0.25, unit="share"), "+25.0 points"),
        (metric(0, 300, unit="s"), "+300 s"),
        (metric(100, None, significant=False), "~"),
    ],
)
def test_change(found: MetricComparison, shown: str) -> None:
    assert text.change(found) == shown


@pytest.mark.parametrize(
    ("change", "shown"),
    [(0, "0%"), (-1, "−100%"), (0.052, "+5.2%"), (-0.5, "−50.0%"), (4, "×5.0"), (779, "×780")],
)
def test_percent(change: float, shown: str) -> None:
    assert text.percent(change) == shown


@pytest.mark.parametrize(
    ("delta", "shown"), [(None, "–"), (0.0, "0"), (1.0, "+1.00"), (-0.5, "−0.50")]
)
def test_effect(delta: float | None, shown: str) -> None:
    assert text.effect(delta) == shown


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("the search grew long", "The search grew long"),
        ("net.ipv4.tcp_tw_reuse = 1 helps", "net.ipv4.tcp_tw_reuse = 1 helps"),
        ("14 of 20", "14 of 20"),
        ("", ""),
    ],
)
def test_a_sentence_begins_with_a_capital_but_a_name_stays(words: str, shown: str) -> None:
    assert sentence(words) == shown


def test_moment() -> None:
    assert text.moment("2026-11-20T11:00:00+01:00") == "2026-11-20 10:00 UTC"
    assert text.moment("some day") == "some day"
