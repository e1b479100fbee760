"""The port search: tables of what was measured, and laws that hold for any range."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.capacity import Costs, Kernel, Load, Search, Settings, Situation, free_ports, pools, reuses
from lab.capacity.ports import Pools
from tests.lab.capacity.strategies import costs, loads, settings, situations, spans

OLD = Kernel(parity_first=False, socket_range=False, socket_range_in_order=False)
HALF_NEW = Kernel(socket_range=True, socket_range_in_order=False)


def found(
    kernel: Kernel | None = None, settings: dict[str, Any] | None = None, **load: Any
) -> Pools:
    return pools(
        Situation(
            load=Load(rate=load.pop("rate", 1.0), **load),
            settings=Settings(**(settings or {})),
            kernel=kernel or Kernel(),
        )
    )


@pytest.mark.parametrize(
    ("ports", "usable", "quick"),
    [
        ((32_768, 60_999), 28_232, 14_116),  # the default; both measured
        ((40_000, 40_999), 1_000, 500),
        ((40_001, 41_000), 1_000, 500),
        ((16_384, 65_535), 49_152, 24_576),
        ((5_000, 65_000), 60_000, 30_000),  # odd: one stays unused
        ((32_768, 61_000), 28_232, 14_116),
        ((40_000, 40_000), 1, 1),
        ((40_000, 40_001), 2, 1),
    ],
)
def test_half_of_a_range_is_quick(ports: tuple[int, int], usable: int, quick: int) -> None:
    pool = found(settings={"ports": ports})
    assert (pool.usable, pool.quick) == (usable, quick)


@pytest.mark.parametrize(
    ("reserved", "usable", "quick"),
    [
        (((40_000, 40_000),), 9, 4),
        (((40_001, 40_001),), 9, 5),
        (((40_000, 40_003),), 6, 3),
        (((1, 50),), 10, 5),
        (((39_990, 40_001), (40_008, 50_000)), 6, 3),
        (((40_000, 40_009),), 0, 0),
        (tuple((port, port) for port in range(40_000, 40_010, 2)), 5, 5),  # all quick ones reserved
    ],
)
def test_reserved_ports_count_where_they_lie(
    reserved: tuple[tuple[int, int], ...], usable: int, quick: int
) -> None:
    pool = found(settings={"ports": (40_000, 40_009), "reserved": reserved})
    assert (pool.usable, pool.quick) == (usable, quick)


@pytest.mark.parametrize(
    ("kernel", "option", "usable", "quick"),
    [
        (Kernel(), None, 28_232, 14_116),
        (Kernel(), (32_768, 60_999), 28_232, 28_232),  # measured: no knee
        (Kernel(), (40_000, 40_010), 11, 11),
        (Kernel(), (20_000, 20_010), 28_232, 28_232),  # bounds outside have no effect: measured
        (Kernel(), (20_000, 40_000), 7_233, 7_233),
        (HALF_NEW, (40_000, 40_009), 10, 5),
        (OLD, (40_000, 40_010), 28_232, 28_232),
        (OLD, None, 28_232, 28_232),
    ],
)
def test_the_socket_option_searches_in_order(
    kernel: Kernel, option: tuple[int, int] | None, usable: int, quick: int
) -> None:
    pool = found(kernel, local_port_range=option)
    assert (pool.usable, pool.quick) == (usable, quick)


@pytest.mark.parametrize(
    ("sources", "destinations", "early", "count"),
    [(1, 1, False, 1), (2, 3, False, 6), (2, 3, True, 2)],
)
def test_each_source_and_destination_is_a_pool(
    sources: int, destinations: int, early: bool, count: int
) -> None:
    """bind() before connect() takes the port from every destination at once."""
    pool = found(sources=sources, destinations=destinations, bind_early=early)
    assert pool.count == count
    assert pool.all_usable == count * 28_232


@pytest.mark.parametrize(
    ("reuse", "loopback", "timestamps", "early", "expected"),
    [
        (0, False, True, False, False),
        (0, True, True, False, False),
        (1, False, True, False, True),
        (1, False, False, False, False),
        (1, False, True, True, False),
        (2, False, True, False, False),
        (2, True, True, False, True),
        (2, True, False, False, False),
    ],
)
def test_when_ports_are_reused(
    reuse: int, loopback: bool, timestamps: bool, early: bool, expected: bool
) -> None:
    settings = Settings(reuse=reuse, timestamps=timestamps)
    assert reuses(settings, Load(rate=1, loopback=loopback, bind_early=early)) is expected


@pytest.mark.parametrize(
    ("close", "reuse", "delay", "hold"),
    [
        ("client", 0, 1.0, 60.0),
        ("client", 1, 1.0, 1.0),
        ("client", 1, 0.5, 0.5),
        ("server", 0, 1.0, 0.0),
        ("server", 1, 1.0, 0.0),
        ("rst", 0, 1.0, 0.0),
    ],
)
def test_how_long_a_port_is_held(close: str, reuse: int, delay: float, hold: float) -> None:
    lifetime = 0.0011
    pool = found(
        settings={"reuse": reuse, "reuse_delay": delay}, close=close, rtt=0.0005, service=0.0001
    )
    assert pool.hold == pytest.approx(hold + lifetime)


RATES = [
    # ports, reuse, delay → slow from, wall: the table "Rates" of the measured facts
    ((32_768, 60_999), 0, 1.0, 235, 470),
    ((5_000, 65_000), 0, 1.0, 500, 1_000),
    ((32_768, 60_999), 1, 1.0, 14_116, 28_232),
    ((32_768, 60_999), 1, 0.1, 141_160, 282_320),
    ((40_000, 40_199), 0, 1.0, 1.67, 3.33),
    ((40_000, 40_199), 1, 1.0, 100, 200),
    ((40_000, 40_199), 1, 0.5, 200, 400),
]


@pytest.mark.parametrize(("ports", "reuse", "delay", "slow", "wall"), RATES)
def test_rates(ports: tuple[int, int], reuse: int, delay: float, slow: float, wall: float) -> None:
    pool = found(
        settings={"ports": ports, "reuse": reuse, "reuse_delay": delay}, rtt=0.0, service=0.0
    )
    assert pool.quick_rate == pytest.approx(slow, rel=0.005)
    assert pool.wall_rate == pytest.approx(wall, rel=0.005)


def searched(rate: float, settings: dict[str, Any] | None = None, **load: Any) -> Search:
    situation = Situation(load=Load(rate=rate, **load), settings=Settings(**(settings or {})))
    return Search(pools(situation), situation.load)


def test_the_collapse_of_a_default_range() -> None:
    """Measured at 20,000/s: 14,116 connections in 0.7 s, then some hundreds a second."""
    search = searched(20_000)
    assert search.slow_at == pytest.approx(0.7058)
    assert search.late_at == pytest.approx(0.81, abs=0.005)
    assert search.started(0.7058) == pytest.approx(14_116)
    assert 500 < search.slow_rate < 1_000
    assert search.exhausted_at == pytest.approx(0.7058 + 14_116 / search.slow_rate)


def test_a_wide_range_alone_moves_the_collapse() -> None:
    """Measured: from 0.7 s to about 1.5 s."""
    assert searched(20_000, {"ports": (5_000, 65_000)}).slow_at == pytest.approx(1.5)


def test_reuse_in_a_default_range_settles_at_the_quick_ports() -> None:
    """Measured at 20,000/s: 14,200/s."""
    search = searched(20_000, {"reuse": 1})
    assert search.settled_rate == pytest.approx(14_200, rel=0.02)
    assert search.exhausted_at is None


def test_reuse_in_a_wide_range_carries_28000() -> None:
    search = searched(28_000, {"reuse": 1, "ports": (5_000, 65_000)})
    assert search.slow_at is None
    assert search.settled_rate >= 28_000


def test_a_small_pool_is_searched_fast() -> None:
    """Measured with 200 ports and reuse: 200.0/s, no slow search before the wall."""
    search = searched(400, {"reuse": 1, "ports": (40_000, 40_199)}, rtt=0.0, service=0.0)
    assert search.late_at is None
    assert search.exhausted_at == pytest.approx(0.5)
    assert search.sustained(None) == pytest.approx(200)


def test_without_parity_there_is_no_slow_search() -> None:
    search = searched(20_000, local_port_range=(32_768, 60_999))
    assert search.slow_at is None
    assert search.exhausted_at == pytest.approx(28_232 / 20_000)


def test_a_slower_search_is_seen_in_the_rate_only() -> None:
    """Machines differ in the search's speed, not in the number of ports."""
    quick, slow = (searched(20_000, costs=Costs(per_port=cost)) for cost in (0.05e-6, 0.3e-6))
    assert quick.slow_at == slow.slow_at
    assert quick.slow_rate > slow.slow_rate


@given(span=spans(), reserved=st.lists(spans(), max_size=4))
def test_even_and_odd_ports_add_up(span: tuple[int, int], reserved: list[tuple[int, int]]) -> None:
    taken = {port for low, high in reserved for port in range(low, high + 1)}
    merged: list[tuple[int, int]] = []
    for port in sorted(taken):
        if merged and merged[-1][1] == port - 1:
            merged[-1] = (merged[-1][0], port)
        else:
            merged.append((port, port))
    by_parity = [free_ports(*span, tuple(merged), parity) for parity in (0, 1)]
    expected = [port for port in range(span[0], span[1] + 1) if port not in taken]
    assert sum(by_parity) == free_ports(*span, tuple(merged)) == len(expected)
    assert by_parity[0] == sum(1 for port in expected if port % 2 == 0)


@given(situation=situations)
def test_quick_ports_are_part_of_the_usable(situation: Situation) -> None:
    pool = pools(situation)
    assert 0 <= pool.quick <= pool.usable
    assert pool.quick_rate <= pool.wall_rate


@given(settings=settings, load=loads, more=st.integers(1, 5_000))
def test_more_ports_never_mean_fewer(settings: Settings, load: Load, more: int) -> None:
    """Two ports more (one is rounded away) raise the walls and move the collapse."""
    load = replace(load, local_port_range=None)
    low, high = settings.ports
    wider = replace(settings, ports=(low, min(65_535, high + 2 * more)))
    before, after = (pools(Situation(load=load, settings=each)) for each in (settings, wider))
    assert after.usable >= before.usable
    assert after.wall_rate >= before.wall_rate
    # A single port needs no parity; beyond that the quick ones are half.
    assert after.quick >= before.quick


@given(settings=settings, load=loads, more=st.integers(1, 5_000))
def test_more_ports_never_lower_the_settled_rate(settings: Settings, load: Load, more: int) -> None:
    """Even though each slow search takes longer: the quick ports more than make up for it."""
    load = replace(load, local_port_range=None)
    low, high = settings.ports
    high -= (high - low + 1) % 2
    wider = (low, min(65_535 - (65_535 - low + 1) % 2, high + 2 * more))
    if high - low < 3 or wider[1] < high:
        return
    rates = [
        Search(
            pools(Situation(load=load, settings=replace(settings, ports=ports))), load
        ).settled_rate
        for ports in ((low, high), wider)
    ]
    assert rates[1] >= rates[0] * (1 - 1e-9)


@given(situation=situations, factor=st.integers(2, 10))
def test_more_addresses_never_lower_the_capacity(situation: Situation, factor: int) -> None:
    for name in ("sources", "destinations"):
        load = replace(situation.load, **{name: getattr(situation.load, name) * factor})
        before = Search(pools(situation), situation.load)
        after = Search(pools(replace(situation, load=load)), load)
        for horizon in (None, 5.0, 120.0):
            assert after.sustained(horizon) >= before.sustained(horizon) * (1 - 1e-9)


@given(situation=situations)
def test_a_longer_load_never_sustains_more(situation: Situation) -> None:
    search = Search(pools(situation), situation.load)
    rates = [search.sustained(horizon) for horizon in (1.0, 5.0, 60.0, 600.0, None)]
    assert all(b <= a * (1 + 1e-9) for a, b in pairwise(rates))


@given(situation=situations, ts=st.lists(st.floats(0, 1_000), min_size=2, max_size=5))
def test_connections_started_only_grow_and_never_beyond_the_rate(
    situation: Situation, ts: list[float]
) -> None:
    search = Search(pools(situation), situation.load)
    counts = [search.started(t) for t in sorted(ts)]
    assert all(b >= a - 1e-6 for a, b in pairwise(counts))
    for t, count in zip(sorted(ts), counts, strict=True):
        assert count <= situation.load.rate * t * (1 + 1e-9) + 1e-6


@given(situation=situations, t=st.floats(0.001, 1_000))
def test_time_of_is_the_inverse_of_started(situation: Situation, t: float) -> None:
    search = Search(pools(situation), situation.load)
    count = search.started(t)
    assert search.started(search.time_of(count)) == pytest.approx(count, rel=1e-6)


@given(situation=situations)
def test_nothing_is_late_below_the_sustained_rate(situation: Situation) -> None:
    """`sustained` and `late_at` are two views of one inequality."""
    search = Search(pools(situation), situation.load)
    rate = search.sustained(None) * 0.999
    if not 0 < rate < math.inf:
        return
    calm = Search(search.pools, replace(situation.load, rate=rate))
    assert calm.late_at is None or calm.late_at >= calm.pools.hold
    assert calm.exhausted_at is None


@given(cost=costs, span=spans())
def test_a_slow_connect_is_never_faster_than_a_quick_one(
    cost: Costs, span: tuple[int, int]
) -> None:
    search = searched(1.0, {"ports": span}, costs=cost)
    assert search.slow_connect >= cost.connection
