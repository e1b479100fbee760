"""The limits together: which breaks first, and what remains in the long run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.capacity import Forecast, Load, Settings, Situation, forecast, time_wait_sockets
from tests.lab.capacity.strategies import situations


def told(rate: float, settings: dict[str, Any] | None = None, **load: Any) -> Forecast:
    return forecast(Situation(load=Load(rate=rate, **load), settings=Settings(**(settings or {}))))


WIDE = {"reuse": 1, "ports": (5_000, 65_000)}

FIRST = [
    # rate, settings, load → limit, connections, seconds until the first loss
    (20_000, {}, {}, "port_search_slow", 14_116, 0.81),
    (5_000, {}, {}, "port_search_slow", 14_116, 2.94),
    (20_000, {"ports": (5_000, 65_000)}, {}, "port_search_slow", 30_000, 1.6),
    (20_000, {"reuse": 1}, {}, "port_search_slow", 14_116, 0.81),
    (20_000, {}, {"local_port_range": (32_768, 60_999)}, "ports_exhausted", 28_232, 1.41),
    (400, {"ports": (40_000, 40_199)}, {}, "ports_exhausted", 200, 0.5),
    (400, {"ports": (40_000, 40_199), "reuse": 1}, {}, "ports_exhausted", 200, 0.5),
    (400, {"ports": (40_000, 40_199)}, {"destinations": 3}, "ports_exhausted", 600, 1.5),
    (400, {"ports": (40_000, 40_199)}, {"sources": 2}, "ports_exhausted", 400, 1.0),
    (400, {"ports": (40_000, 40_199), "reuse": 1}, {"bind_early": True, "destinations": 3},
     "ports_exhausted", 200, 0.5),
    (500, {"tracked_most": 262_144}, {"tracked": True, "tracked_before": 261_644},
     "conntrack_full", 500, 4.0),
]  # fmt: skip


@pytest.mark.parametrize(("rate", "settings", "load", "name", "connections", "lost_at"), FIRST)
def test_what_breaks_first(
    rate: float,
    settings: dict[str, Any],
    load: dict[str, Any],
    name: str,
    connections: int,
    lost_at: float,
) -> None:
    found = told(rate, settings, **load)
    first = found.first_loss
    assert first is not None
    assert first.name == name
    assert first.connections == connections
    assert first.lost_at == pytest.approx(lost_at, rel=0.02)
    assert not found.holds


@pytest.mark.parametrize(
    ("rate", "settings", "load"),
    [
        (20_000, WIDE, {}),
        (28_000, WIDE, {}),
        (14_000, {"reuse": 1}, {}),
        (200, {}, {}),
        (20_000, {}, {"close": "server"}),
        (20_000, {}, {"close": "rst"}),
        (20_000, {"reuse": 2}, {"loopback": True, "local_port_range": (32_768, 60_999)}),
        (2_000, {}, {"duration": 5.0}),
        (20_000, {"reuse": 1}, {"destinations": 2}),
        (190, {"reuse": 1, "ports": (40_000, 40_199)}, {}),
    ],
)
def test_what_holds(rate: float, settings: dict[str, Any], load: dict[str, Any]) -> None:
    found = told(rate, settings, **load)
    assert found.holds
    assert found.sustainable_rate is None or found.sustainable_rate >= rate


@pytest.mark.parametrize(
    ("settings", "load", "capacity", "bound_by"),
    [
        ({}, {}, 470, "ports_exhausted"),
        ({"ports": (5_000, 65_000)}, {}, 503, "port_search_slow"),
        ({"reuse": 1}, {}, 14_200, "port_search_slow"),
        (WIDE, {}, 30_000, "port_search_slow"),
        ({"reuse": 1}, {"local_port_range": (32_768, 60_999)}, 28_232, "ports_exhausted"),
        ({"reuse": 1, "ports": (40_000, 40_199)}, {}, 200, "ports_exhausted"),
        ({"reuse": 1, "ports": (40_000, 40_199), "reuse_delay": 0.5}, {}, 400, "ports_exhausted"),
        ({}, {"duration": 5.0}, 2_860, "port_search_slow"),
    ],
)
def test_capacities(
    settings: dict[str, Any], load: dict[str, Any], capacity: float, bound_by: str
) -> None:
    found = told(1.0, settings, rtt=0.0, service=0.0, **load)
    assert found.sustainable_rate == pytest.approx(capacity, rel=0.02)
    assert found.bound_by == bound_by


@pytest.mark.parametrize(
    ("rate", "settings", "close", "side", "sockets"),
    [
        (9_000, {"reuse": 1}, "client", "client", 14_116),  # measured: 14,100 and rising
        (100, {}, "client", "client", 6_000),
        (5_000, {"ports": (40_000, 40_999)}, "server", "server", 500),  # measured: 500
        (5_000, {}, "rst", "nobody", 0),
        (1_000, {"reuse": 1, "max_time_wait": 120}, "client", "client", 120),
    ],
)
def test_time_wait_in_the_long_run(
    rate: float, settings: dict[str, Any], close: str, side: str, sockets: float
) -> None:
    found = told(rate, settings, close=close).time_wait
    assert found.side == side
    assert found.sockets == pytest.approx(sockets, rel=0.001)


def test_a_time_wait_socket_weighs_half_a_kilobyte_on_the_client() -> None:
    """256 bytes of its own, and 256 for the port that it keeps bound; a server keeps one port."""
    client, server = (told(100, close=close).time_wait for close in ("client", "server"))
    assert client.bytes / client.sockets == 512
    assert server.bytes / server.sockets == 256


def test_time_wait_after_a_short_load() -> None:
    situation = Situation(load=Load(rate=100, duration=5.0))
    assert time_wait_sockets(situation, 5.0) == pytest.approx(500)
    assert time_wait_sockets(situation, 600.0) == pytest.approx(6_000)


def test_few_time_wait_buckets_hide_the_want_of_ports() -> None:
    """Measured with 120 buckets: 500 of 500 connections over 100 ports, and no TIME_WAIT for most."""
    found = told(5_000, {"max_time_wait": 5_000})
    assert found.holds
    assert [limit.name for limit in found.limits] == ["time_wait_buckets_full"]
    assert not found.limits[0].loses


def test_open_files_bound_the_connections_at_once() -> None:
    found = told(10_000, WIDE, rtt=0.1, service=0.0, open_files=1_024)
    assert found.in_flight == pytest.approx(2_000)
    first = found.first_loss
    assert first is not None
    assert first.name == "open_files"


def test_a_pause_that_the_accept_queue_survives() -> None:
    assert told(20_000).accept_pause == pytest.approx(1024 / 20_000)
    assert told(20_000, {"somaxconn": 128}).accept_pause == pytest.approx(128 / 20_000)


def test_a_limit_after_the_end_is_not_one() -> None:
    assert told(20_000, duration=0.5).limits == []
    assert [limit.name for limit in told(20_000, duration=5.0).limits] == ["port_search_slow"]


def test_no_usable_port_is_a_capacity_of_nothing() -> None:
    found = told(1.0, {"ports": (40_000, 40_000), "reserved": ((40_000, 40_000),)})
    assert found.sustainable_rate == 0
    first = found.first_loss
    assert first is not None
    assert first.at == 0


def test_a_forecast_is_json() -> None:
    found = told(20_000, {"tracked_most": 1_000}, tracked=True)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Forecast) == found


@given(situation=situations)
def test_any_situation_has_a_forecast(situation: Situation) -> None:
    """No infinity and no negative number reaches the record; limits are in order."""
    found = forecast(situation)
    data = msgspec.to_builtins(found)
    assert found.ports.in_use <= found.ports.usable
    assert found.time_wait.sockets >= 0
    times = [limit.at for limit in found.limits]
    assert times == sorted(times)
    assert all(math.isfinite(at) and at >= 0 for at in times)
    assert all(
        limit.lost_at is None or limit.lost_at >= limit.at * (1 - 1e-9) for limit in found.limits
    )
    assert data["sustainable_rate"] is None or data["sustainable_rate"] >= 0


@given(situation=situations, factor=st.integers(2, 8))
def test_more_addresses_never_bring_the_port_walls_nearer(
    situation: Situation, factor: int
) -> None:
    load = replace(situation.load, tracked=False, open_files=None, duration=None)
    settings = replace(situation.settings, max_time_wait=None)
    before = forecast(replace(situation, load=load, settings=settings))
    more = replace(load, sources=load.sources * factor)
    after = forecast(replace(situation, load=more, settings=settings))
    assert (after.sustainable_rate or math.inf) >= (before.sustainable_rate or 0) * (1 - 1e-9)
    assert not before.holds or after.holds


@given(situation=situations)
def test_a_load_within_its_capacity_holds(situation: Situation) -> None:
    load = replace(situation.load, tracked=False, duration=None)
    rate = forecast(replace(situation, load=load)).sustainable_rate
    if rate is None or rate <= 0:
        return
    calm = forecast(replace(situation, load=replace(load, rate=rate * 0.99)))
    assert calm.holds


def test_a_backlog_that_outlives_the_load_is_lost_too() -> None:
    """Measured at 4,900/s for 3 s: 14,116 ports are gone 0.12 s before the end, and 490 were lost."""
    found = told(4_900, duration=3.0, rtt=0.0, service=0.0)
    assert not found.holds
    assert told(4_700, duration=3.0).holds
    assert found.sustainable_rate == pytest.approx(4_730, rel=0.01)


def test_time_wait_with_reuse_counts_ports_not_connections() -> None:
    """Measured with 30,000 quick ports at 4,900/s for 3 s: 12,712 sockets after 14,700."""
    situation = Situation(load=Load(rate=4_900, duration=3.0), settings=Settings(**WIDE))  # type: ignore[arg-type]
    assert time_wait_sockets(situation, 3.0) == pytest.approx(12_712, rel=0.01)


def test_a_load_that_has_ended_starts_nothing_until_its_first_time_out() -> None:
    """Full after 2.5 s, the first SYN given up at 5.5 s: of a load of 5 s all have started by then."""
    load = Load(rate=2_000, duration=5.0, tracked=True, timeout=3.0)
    settings = Settings(tracked_most=5_000, tracked_time_wait=120)
    (first,) = [
        limit
        for limit in forecast(Situation(load=load, settings=settings)).limits
        if limit.name == "conntrack_full"
    ]
    assert first.lost_at == pytest.approx(5.5)
    assert first.lost_after == 10_000
