"""From a run's records to its summary, whole or cut off."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import summary as records
from loadgen.accounting.messages import Totals
from loadgen.accounting.sums import add, values_of
from loadgen.run.conclude import About, Ended, conclude
from loadgen.sample import Sample
from loadgen.summary import Summary
from tests.loadgen.builders import about, generator_sample, run_config, totals


def _series(whole: Totals, times: list[float]) -> list[Sample]:
    return [Sample(t, "generator", values_of(whole, 0.0)) for t in times]


@given(st.lists(totals(), min_size=1, max_size=3), st.floats(0.01, 5))
def test_the_equations_hold_and_everything_has_a_cause(parts: list[Totals], t: float) -> None:
    whole = add(parts)
    result = conclude(about(ended=Ended(elapsed=t)), _series(whole, [t]), {})
    assert result.unaccounted() == 0
    assert sum(result.outcomes.values()) == result.ok + result.failed
    assert sum(cause.connections for cause in result.causes) == result.lost
    assert all(cause.evidence and cause.remedy for cause in result.causes)
    written = records.encode(result)
    assert records.encode(records.decode(written)) == written


def test_an_unaccounted_arrival_shows() -> None:
    result = conclude(about(), [generator_sample(1.0, scheduled=3, started=2, ok=1)], {})
    assert result.unaccounted() == 2


def _good(config_duration: float = 2.0, **ended: Any) -> tuple[About, list[Sample]]:
    whole = {"scheduled": 200, "started": 200, "ok": 200}
    samples = [generator_sample(0.1, scheduled=10), generator_sample(1.991, **whole)]
    end = Ended(elapsed=1.991, **ended)
    return about(run_config(rate=100.0, duration=config_duration), end), samples


def codes(result: Summary) -> list[str]:
    """Return the codes of the warnings, without the one that loopback always has."""
    return [warning.code for warning in result.warnings if warning.code != "loopback"]


def test_a_good_run_is_valid_and_has_nothing_to_warn_of() -> None:
    result = conclude(*_good(), {"total": {100: 200}})
    assert result.validity == "valid"
    assert codes(result) == []
    assert result.causes == []
    assert result.latency["total"].count == 200


@pytest.mark.parametrize(
    ("host", "warned"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("198.18.0.1", False)],
)
def test_loopback_reuses_ports_by_itself(host: str, warned: bool) -> None:
    """tcp_tw_reuse = 2, the default, is 1 toward 127/8 and ::1 alike."""
    known = about(run_config(addresses=[(host, 11211)]), Ended(elapsed=1.0))
    found = conclude(known, [generator_sample(1.0)], {})
    assert ("loopback" in [warning.code for warning in found.warnings]) is warned


def test_rates_are_over_the_run_not_over_the_time_to_its_last_arrival() -> None:
    """200 arrivals in 2 s are 100/s, although the last was due, and answered, before the end."""
    result = conclude(*_good(), {})
    assert (result.rate.target, result.rate.offered, result.rate.achieved) == (100, 100, 100)


def test_rates_of_an_interrupted_run_are_over_what_ran() -> None:
    whole = {"scheduled": 50, "started": 50, "ok": 40, "in_flight": 10}
    config = run_config(rate=100.0, duration=10.0)
    ended = Ended(elapsed=0.5, interrupted=True)
    result = conclude(about(config, ended), [generator_sample(0.5, **whole)], {})
    assert (result.rate.offered, result.rate.achieved) == (100, 80)


def test_a_shard_s_target_is_its_share() -> None:
    config = run_config(rate=900.0, shard=(0, 3))
    assert conclude(about(config), [], {}).rate.target == 300


def test_the_closed_loop_has_no_target() -> None:
    config = run_config(rate=None, closed_loop=True)
    assert conclude(about(config), [], {}).rate.target is None


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({"interrupted": True}, "interrupted"),
        ({"interrupted": True, "aborted_by": "failed: rate == 0"}, "aborted"),
        ({"lost_workers": ["worker 1 ended without a report"]}, "lost_worker"),
    ],
)
def test_a_run_that_did_not_end_by_itself_is_partial(ended: dict[str, Any], code: str) -> None:
    result = conclude(*_good(**ended), {})
    assert result.validity == "partial"
    assert codes(result) == [code]


def test_a_killed_run_is_partial_and_says_so() -> None:
    """`run.json` as it was before the first arrival: nobody wrote how it ended."""
    known, samples = _good()
    known.ended = None
    result = conclude(known, samples, {})
    assert result.validity == "partial"
    assert codes(result) == ["truncated"]
    assert result.unaccounted() == 0


def test_a_run_killed_before_its_first_sample_still_has_a_summary() -> None:
    result = conclude(about(), [], {})
    assert (result.scheduled, result.elapsed, result.validity) == (0, 0.0, "partial")


def test_a_run_that_the_generator_spoiled_says_so() -> None:
    samples = [
        generator_sample(0.1, scheduled=100, started=100, ok=100, connect_calls=100),
        generator_sample(
            1.0, scheduled=1000, started=600, ok=600, dropped=400, drop_overdue=400,
            connect_calls=600, connect_call_seconds=0.015,
        ),
    ]  # fmt: skip
    result = conclude(about(ended=Ended(elapsed=1.0)), samples, {})
    assert result.validity == "generator_limited"
    assert result.generator.saturated
    assert codes(result) == ["generator_limited"]
    assert [(c.cause, c.fault, c.connections) for c in result.causes] == [
        ("generator_saturated", "generator", 400)
    ]


def test_a_collapse_of_the_port_search_is_the_client_host_s_and_no_fault_of_the_generator() -> None:
    """The signature of default settings: full speed, then 640/s without any error."""
    samples, started, dropped, seconds = [], 0, 0, 0.0
    for number in range(1, 21):
        searching = number > 7
        started += 64 if searching else 2000
        dropped += 1936 if searching else 0
        seconds += 0.096 if searching else 0.05
        samples.append(
            generator_sample(
                number / 10, scheduled=started + dropped, started=started, ok=started,
                dropped=dropped, drop_overdue=dropped, connect_calls=started,
                connect_call_seconds=seconds, cpu_system_seconds=seconds,
            )
        )  # fmt: skip
    config = run_config(rate=20_000.0, duration=2.0)
    result = conclude(about(config, Ended(elapsed=2.0)), samples, {})
    assert result.validity == "valid"
    assert [(c.cause, c.fault, c.connections) for c in result.causes] == [
        ("port_search_slow", "client_host", 13 * 1936)
    ]


def test_a_few_drops_are_tolerated_and_told() -> None:
    whole = {"scheduled": 10_000, "started": 9_999, "ok": 9_999, "dropped": 1, "drop_overdue": 1}
    samples = [generator_sample(0.1), generator_sample(1.0, **whole)]
    result = conclude(about(ended=Ended(elapsed=1.0)), samples, {})
    assert result.validity == "valid"
    assert codes(result) == ["few_drops"]


def test_unseeded_keys_and_slow_sampling_are_told() -> None:
    known, samples = _good(sampler_overruns=3)
    known.seeded = False
    assert codes(conclude(known, samples, {})) == ["not_seeded", "sampler_overrun"]


def test_kernel_metrics_are_ranges_by_role() -> None:
    known, samples = _good()
    readings = [Sample(float(t), "server", {"sockstat_TCP_tw": n}) for t, n in enumerate([3, 9, 5])]
    result = conclude(known, samples + readings, {})
    found = result.kernel["server"]["sockstat_TCP_tw"]
    assert (found.first, found.last, found.min, found.max, found.delta) == (3, 5, 3, 9, 2)
    assert "generator" not in result.kernel


def test_thresholds_are_judged_on_the_summary() -> None:
    known, samples = _good()
    known.config = run_config(thresholds=["ok: count == 200", "failed: count > 0"])
    verdict = conclude(known, samples, {}).verdict
    assert [gate.passed for gate in verdict.thresholds] == [True, False]
    assert not verdict.passed
