"""How near a limit is, and when it is reached: arithmetic on readings, in made-up time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.metrics import CATALOGUE
from loadgen.report.plain import plain
from loadgen.sampling.sock_diag import Listener, Pool
from loadgen.watch.headroom import LATEST, WINDOW, Gauge, History, Reading, advice
from loadgen.watch.view import RATES, Look, renderable

POOL = Pool("10.0.0.1", "10.0.0.5", 11211)
PORTS = {"ephemeral_ports_limit": 28_232}


def history(*readings: Reading) -> History:
    found = History()
    for reading in readings:
        found.add(reading)
    return found


def gauge(name: str, found: History) -> Gauge:
    return next(item for item in found.gauges() if item.name == name)


def test_ports_toward_a_server_with_the_time_that_is_left() -> None:
    """61 % of 28,232, filling at 276 a second: the rest lasts 40 s."""
    found = history(
        Reading(100.0, PORTS, {POOL: 14_460}),
        Reading(110.0, PORTS, {POOL: 17_220}),
    )
    ports = gauge("ephemeral_ports_in_use", found)
    assert ports.title == "ports toward 10.0.0.5:11211 from 10.0.0.1"
    assert ports.share == pytest.approx(0.61, abs=0.001)
    assert ports.growth == 276
    assert ports.full_in == pytest.approx((28_232 - 17_220) / 276)


@pytest.mark.parametrize(
    ("value", "growth", "left"),
    [
        (50, None, None),  # one reading says nothing of time
        (50, 0.0, None),
        (50, -1.0, None),
        (50, 10.0, 5.0),
        (100, 10.0, 0.0),
        (120, -1.0, 0.0),  # beyond the limit is at the limit, whichever way it goes
        (50, 50 / (LATEST * 2), None),  # too far off to be foretold
    ],
)
def test_when_a_limit_is_reached(value: int, growth: float | None, left: float | None) -> None:
    assert Gauge("x", "x", value, 100, growth=growth).full_in == left


@given(
    value=st.integers(0, 10**6),
    limit=st.integers(1, 10**6),
    growth=st.floats(0.001, 1e6),
)
def test_at_the_time_foretold_the_limit_is_reached(value: int, limit: int, growth: float) -> None:
    found = Gauge("x", "x", value, limit, growth=growth)
    if found.full_in:
        assert value + growth * found.full_in == pytest.approx(limit)


def test_growth_is_taken_over_the_window_only() -> None:
    early = Reading(0.0, {"sockstat_TCP_tw": 9_000, "sockstat_TCP_tw_limit": 10_000})
    later = [
        Reading(WINDOW * 2 + t, {"sockstat_TCP_tw": 100 * t, "sockstat_TCP_tw_limit": 10_000})
        for t in range(5)
    ]
    assert gauge("sockstat_TCP_tw", history(early, *later)).growth == 100


def test_what_is_read_seldom_is_remembered_between_its_readings() -> None:
    """Counting ports is paced by its cost, so most readings have none."""
    found = history(
        Reading(0.0, PORTS, {POOL: 100}, [Listener("0.0.0.0", 80, 3, 10)]),
        Reading(1.0, {"sockstat_TCP_tw": 1}),
    )
    assert gauge("ephemeral_ports_in_use", found).value == 100
    assert gauge("listen_queue", found).share == 0.3


def test_a_pool_that_nobody_uses_any_more_is_forgotten() -> None:
    found = history(Reading(0.0, PORTS, {POOL: 100}), Reading(1.0, PORTS, {}))
    ports = gauge("ephemeral_ports_in_use", found)
    assert (ports.value, ports.labels) == (0, {})


def test_the_nearest_to_its_limit_comes_first() -> None:
    values = {
        **PORTS,
        "nf_conntrack_entries": 90,
        "nf_conntrack_entries_limit": 100,
        "sockstat_TCP_tw": 10,
        "sockstat_TCP_tw_limit": 100,
    }
    found = history(Reading(0.0, values, {POOL: 14_116}))
    assert [item.name for item in found.gauges()][:3] == [
        "nf_conntrack_entries",
        "ephemeral_ports_in_use",
        "sockstat_TCP_tw",
    ]


@pytest.mark.parametrize(
    ("used", "sysctls", "words"),
    [
        (10_000, {}, ""),
        (15_000, {}, "past the half: connect() searches slowly"),
        (28_232, {}, "reached: connect() fails with EADDRNOTAVAIL"),
        (15_000, {"net.ipv4.tcp_tw_reuse": "2"}, "past the half: connect() searches slowly"),
        (15_000, {"net.ipv4.tcp_tw_reuse": "1"}, "TIME_WAIT ports are taken again after 1000 ms"),
        (
            15_000,
            {"net.ipv4.tcp_tw_reuse": "1", "net.ipv4.tcp_timestamps": "0"},
            "past the half: connect() searches slowly",
        ),
    ],
)
def test_what_a_pool_s_fill_means(used: int, sysctls: dict[str, str], words: str) -> None:
    found = history(Reading(0.0, PORTS, {POOL: used}))
    assert advice(gauge("ephemeral_ports_in_use", found), sysctls) == words


def test_on_loopback_the_default_reuses() -> None:
    found = history(Reading(0.0, PORTS, {Pool("127.0.0.1", "127.0.0.1", 11211): 15_000}))
    words = advice(gauge("ephemeral_ports_in_use", found), {"net.ipv4.tcp_tw_reuse": "2"})
    assert "taken again" in words


def test_the_table_says_what_is_near_and_what_happens() -> None:
    values = {
        **PORTS,
        "netstat_TcpExt_ListenDrops": 5,
        "nf_conntrack_entries": 5,
        "nf_conntrack_entries_limit": 100,
    }
    found = history(
        Reading(0.0, values, {POOL: 14_460}),
        Reading(10.0, {**values, "netstat_TcpExt_ListenDrops": 25}, {POOL: 17_220}),
    )
    text = plain(renderable(found, {}, "namespace web1", None, Look(), (160, None)), 160)
    rows = {" ".join(line.split()) for line in text.splitlines()}
    assert "namespace web1" in rows
    assert (
        "ports toward 10.0.0.5:11211 from 10.0.0.1 ████████████░░░░░░░░ 61.0% 17,220 28,232 +276 "
    ) in " ".join(text.split())
    assert "full in 39.9 s; past the half" in " ".join(text.split())
    assert "listener drops 2 25" in rows


def test_every_name_is_the_catalogue_s() -> None:
    assert {name for _, name, _ in RATES} <= set(CATALOGUE)
