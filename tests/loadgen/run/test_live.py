"""The block on the terminal while a run goes on."""

from __future__ import annotations

from loadgen.run.live import block, second_rates
from tests.loadgen.builders import generator_sample


def test_rates_are_what_changed_in_the_last_second() -> None:
    before = generator_sample(1.0, scheduled=100, ok=80, failed=5)
    after = generator_sample(3.0, scheduled=300, ok=120, failed=15, dropped=8)
    assert second_rates(before.values, after.values, 2.0) == {
        "offered": 100,
        "achieved": 20,
        "failed": 5,
        "dropped": 4,
    }


def _block(**changes: object) -> str:
    rates = {"offered": 20_000.0, "achieved": 640.0, "failed": 0.0, "dropped": 0.0}
    values = generator_sample(
        3.0,
        failed=1234,
        dropped=56_789,
        in_flight=7,
        outcome_reset=1200,
        outcome_connect_timeout=34,
    ).values
    fields: dict[str, object] = {
        "t": 3.04,
        "duration": 10.0,
        "rates": rates,
        "generator": values,
        "kernel": {},
        "histograms": {},
    }
    return block(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_block_shows_offered_achieved_and_failures_by_outcome() -> None:
    first, second, _ = _block().splitlines()
    assert "3.0 / 10 s" in first
    assert "20,000/s" in first
    assert "640/s" in first
    assert "p99 –" in first
    assert "failed 1,234" in second
    assert "dropped 56,789" in second
    assert "in flight 7" in second
    assert "connect_timeout 34  reset 1,200" in second


def test_the_block_shows_the_p99_of_the_last_second() -> None:
    assert "p99 250 µs" in _block(histograms={"total": {200: 10, 250: 1}})


def test_what_the_kernel_does_not_tell_is_a_dash_not_a_zero() -> None:
    assert "ports –   TIME_WAIT client –   conntrack –" in _block()


def test_the_block_shows_limits_and_both_sides_time_wait() -> None:
    kernel = {
        "client": {
            "ephemeral_ports_in_use": 14_116,
            "ephemeral_ports_limit": 28_232,
            "sockstat_TCP_tw": 14_116,
            "nf_conntrack_entries": 5,
            "nf_conntrack_entries_limit": 262_144,
        },
        "server": {"sockstat_TCP_tw": 0},
    }
    line = _block(kernel=kernel).splitlines()[2]
    assert "ports 14,116/28,232" in line
    assert "TIME_WAIT client 14,116 server 0" in line
    assert "conntrack 5/262,144" in line


def test_the_clock_stops_at_the_duration() -> None:
    assert _block(t=12.3).splitlines()[0].strip().startswith("10.0 / 10 s")
