"""Connection tracking: when a table can overflow and when it cannot, and what entries weigh."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.capacity import (
    Load,
    Search,
    Settings,
    Situation,
    TrackingTable,
    connections_for,
    distinct,
    forecast,
    pools,
)
from tests.lab.capacity.strategies import situations


def tracking(rate: float, settings: dict[str, Any] | None = None, **load: Any) -> TrackingTable:
    situation = Situation(
        load=Load(rate=rate, tracked=True, **load), settings=Settings(**(settings or {}))
    )
    return TrackingTable(
        situation.settings, situation.load, Search(pools(situation), situation.load)
    )


@pytest.mark.parametrize("most", [65_536, 262_144])
@pytest.mark.parametrize("ports", [(32_768, 60_999), (5_000, 65_000)])
def test_one_client_and_one_server_cannot_fill_a_table(ports: tuple[int, int], most: int) -> None:
    """28,232 or 60,001 pairs of ports are fewer than 65,536 entries."""
    table = tracking(20_000, {"ports": ports, "tracked_most": most, "reuse": 1})
    assert table.full_at is None
    assert table.full_rate == math.inf


@pytest.mark.parametrize(("most", "rate"), [(65_536, 546), (262_144, 2_184)])
def test_the_rate_that_fills_a_table(most: int, rate: float) -> None:
    """Entries over the timer of 120 s, where there are addresses enough."""
    table = tracking(1.0, {"tracked_most": most}, destinations=100, rtt=0.0, service=0.0)
    assert table.full_rate == pytest.approx(rate, abs=1)


@pytest.mark.parametrize(
    ("close", "timeout"), [("client", 120.0), ("server", 120.0), ("rst", 10.0)]
)
def test_the_timer_depends_on_how_it_ends(close: str, timeout: float) -> None:
    assert tracking(1.0, close=close).timeout == timeout


def test_a_table_at_the_brink_overflows_after_as_many_connections_as_it_has_room() -> None:
    table = tracking(200, {"tracked_most": 262_144}, tracked_before=261_144)
    assert table.room == 1_000
    assert table.full_after == 1_000
    assert table.full_at == pytest.approx(5.0)


def test_reused_ports_fill_a_table_more_slowly() -> None:
    """A port that was used before replaces its entry."""
    new = tracking(800, {"tracked_most": 14_000})
    again = tracking(800, {"tracked_most": 14_000, "reuse": 1})
    assert new.full_after == 14_000
    assert again.full_after is not None
    assert again.full_after > 20_000


def test_the_entries_of_a_load_that_never_leaves_the_quick_ports() -> None:
    """Measured with --close server and 1,000 ports: 500 entries after 10,000 connections."""
    table = tracking(5_000, {"ports": (40_000, 40_999), "tracked_most": 262_144}, close="server")
    assert table.entries == 500


def test_a_shorter_timer_means_fewer_entries() -> None:
    entries = [
        tracking(100, {"tracked_time_wait": timer}, rtt=0.0, service=0.0).entries
        for timer in (120.0, 60.0, 3.0)
    ]
    assert entries == [12_000, 6_000, 300]


@pytest.mark.parametrize(("accounting", "size"), [(False, 256), (True, 384)])
def test_what_an_entry_weighs(accounting: bool, size: int) -> None:
    table = tracking(100, {"accounting": accounting, "tracked_buckets": 262_144})
    assert table.entry_bytes == size
    assert table.table_bytes == 2_097_152


def test_a_full_table_of_half_a_million_entries_weighs_134_mb() -> None:
    found = forecast(
        Situation(load=Load(rate=1, tracked=True), settings=Settings(tracked_most=524_288))
    ).conntrack
    assert found is not None
    assert found.most_bytes == pytest.approx(134e6, rel=0.01)


def test_a_table_of_unknown_size_is_never_called_full() -> None:
    assert tracking(1_000_000, destinations=1_000).full_at is None


@pytest.mark.parametrize(("connections", "ports", "measured"), [(1_000, 500, 470)])
def test_distinct_ports_against_a_measurement(connections: int, ports: int, measured: int) -> None:
    assert distinct(connections, ports) == pytest.approx(measured, rel=0.05)


@given(connections=st.floats(0, 1e6), ports=st.integers(1, 65_000))
def test_distinct_is_bounded_by_both(connections: float, ports: int) -> None:
    assert 0 <= distinct(connections, ports) <= min(connections, ports)


@given(share=st.floats(0, 0.999), ports=st.integers(1, 65_000))
def test_connections_for_is_the_inverse_of_distinct(share: float, ports: int) -> None:
    entries = share * ports
    assert distinct(connections_for(entries, ports), ports) == pytest.approx(entries, rel=1e-6)


def test_more_ports_than_there_are_cannot_be_used() -> None:
    assert connections_for(501, 500) == math.inf
    assert distinct(10, 0) == 0


@given(situation=situations, more=st.integers(1, 1_000_000))
def test_a_larger_table_never_overflows_sooner(situation: Situation, more: int) -> None:
    settings = replace(situation.settings, tracked_most=situation.settings.tracked_most or 1)
    larger = replace(settings, tracked_most=(settings.tracked_most or 0) + more)
    load = replace(situation.load, tracked=True)
    search = Search(pools(replace(situation, load=load)), load)
    before, after = (TrackingTable(each, load, search) for each in (settings, larger))
    assert after.full_rate >= before.full_rate
    assert after.full_at is None or before.full_at is not None
    if before.full_at is not None and after.full_at is not None:
        assert after.full_at >= before.full_at * (1 - 1e-9)
