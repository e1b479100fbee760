"""From samples to curves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.accounting.latency import IntervalHistogram, bucket, merged, quantile
from loadgen.report.page import figures, series
from loadgen.report.page.series import Track
from loadgen.sample import Sample


@given(st.floats(0, 1e5))
def test_grid_is_bounded_and_covers_the_run(longest: float) -> None:
    moments = series.grid(longest)
    assert len(moments) <= series.POINTS + 1
    assert moments[0] == 0
    step = moments[1] - moments[0] if len(moments) > 1 else series._STEPS[-1]
    assert longest - moments[-1] <= step + 1e-6


def test_gauge_is_read_off_between_samples() -> None:
    track = Track([0.0, 1.0, 2.0], [0.0, 10.0, 10.0])
    assert series.read_off(track, [0, 0.5, 1, 1.5, 2, 3], gap=1) == [0, 5, 10, 10, 10, None]


def test_nothing_is_drawn_through_a_gap() -> None:
    track = Track([0.0, 1.0, 5.0], [0.0, 1.0, 5.0])
    assert series.read_off(track, [0, 1, 3, 5], gap=1) == [0, 1, None, 5]


def test_counter_becomes_a_rate_whatever_the_moments_of_the_samples() -> None:
    """Samples taken late by some milliseconds still give the rate that the counter grew at."""
    times = [0.0, 0.104, 0.197, 0.302, 0.4]
    samples = [Sample(t, "generator", {"generator_ok": 1000 * t}) for t in times]
    rates = series.counter_rate("generator_ok")(series.tracks(samples), [0, 0.1, 0.2, 0.3, 0.4])
    assert rates is not None
    assert rates[0] is None
    assert rates[1:] == pytest.approx([1000] * 4)


def test_an_outcome_is_zero_until_it_first_occurs() -> None:
    """Nothing is drawn before the sample that had it first, however many it then was."""
    samples = [Sample(t / 2, "generator", {"generator_scheduled": t}) for t in range(5)]
    samples += [
        Sample(t, "generator", {"generator_scheduled": 9, "generator_outcome_reset": number})
        for t, number in ((2.5, 30), (3.0, 50))
    ]
    moments = [0, 0.5, 1, 1.5, 2, 2.5, 3]
    rates = series.counter_rate("generator_outcome_reset")(series.tracks(samples), moments)
    assert rates == [None, 0, 0, 0, 0, 60, 40]


def test_a_metric_that_was_not_measured_has_no_curve() -> None:
    assert series.gauge("client", "x")({}, [0, 1]) is None
    assert series.curve(series.gauge("client", "x"), [{}], 0, [0, 1]) is None


def test_ratio_is_empty_without_calls() -> None:
    assert series.ratio([1.0, None, 1.0], [2.0, 2.0, 0.0]) == [0.5, None, None]


def test_envelope_is_the_range_of_all_trials() -> None:
    found = series.envelope([1.0, 2.0], [[1.0, 2.0], [0.0, None], [3.0, 1.0]])
    assert (found.low, found.high) == ([0, 1], [3, 2])


@given(st.lists(st.integers(1, 10**7), min_size=2, max_size=200))
def test_percentiles_end_where_the_count_does(values: list[int]) -> None:
    counts = merged([{bucket(value): 1} for value in values])
    points = series.percentiles([counts])
    assert points[0] == (2.0, quantile(counts, 0.5))
    assert points[-1][0] <= len(values)
    assert [value for _, value in points] == sorted(value for _, value in points)


def test_quantile_of_each_second_holds_over_the_second() -> None:
    intervals = [
        IntervalHistogram("connect", 0.0, 1.0, {bucket(100): 10}),
        IntervalHistogram("total", 0.0, 1.0, {bucket(999): 10}),
        IntervalHistogram("connect", 1.0, 1.0, {bucket(200): 10}),
    ]
    spans = series.latency_spans(intervals, "connect", 0.99)
    held = series.held(spans, [0, 0.5, 1, 1.5, 2, 2.5])
    assert held == pytest.approx([1e-4, 1e-4, 1e-4, 2e-4, 2e-4, None])
    assert series.held([], [0, 1]) == [None, None]


def test_a_long_run_loses_no_spike_between_two_points() -> None:
    """Seconds are added up where not each can be drawn: the slow one is in its stretch's p99."""
    intervals = [
        IntervalHistogram("connect", float(t), 1.0, {bucket(900 if t == 7 else 100): 10})
        for t in range(10)
    ]
    spans = series.latency_spans(intervals, "connect", 0.99, width=5)
    assert [(span.start, span.end) for span in spans] == [(0, 5), (5, 10)]
    assert [span.value for span in spans] == pytest.approx([1e-4, 9e-4], rel=0.01)


def test_an_interval_may_be_longer_than_a_second() -> None:
    """A worker that sits in connect() ends its second late."""
    intervals = [
        IntervalHistogram("connect", 0.0, 1.8, {bucket(100): 10}),
        IntervalHistogram("connect", 2.0, 1.0, {bucket(200): 10}),
    ]
    held = series.held(series.latency_spans(intervals, "connect", 0.99), [1.5, 1.9, 2.5])
    assert held == pytest.approx([1e-4, None, 2e-4])


def test_a_costly_reading_taken_seldom_is_one_curve() -> None:
    """The ports are read every second or two: their own distance decides what a gap is."""
    samples = [Sample(t, "client", {"ports": t}) for t in (0.0, 1.6, 3.2, 4.8)]
    read = series.gauge("client", "ports")(series.tracks(samples), [0, 1, 2, 3, 4])
    assert read == pytest.approx([0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("x", "label"), [(2, "p50"), (10, "p90"), (100, "p99"), (1000, "p99.9"), (10**4, "p99.99")]
)
def test_percentile_labels(x: float, label: str) -> None:
    assert figures.percentile_label(x) == label
    assert math.isfinite(x)
