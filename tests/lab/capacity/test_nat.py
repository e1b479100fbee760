"""The ports of a NAT: as many mappings as connections under way, on kernels that evict closed ones."""

from dataclasses import replace

import pytest

from lab.capacity import Kernel, Load, Settings, Situation, forecast

HELD = Load(rate=200, duration=2.0, service=2.0, rtt=0.0, nat=True, nat_ports=(20_000, 20_127))
SHORT = replace(HELD, service=0.0)
OLD = Kernel.of("5.15.0")


def limits(load: Load, kernel: Kernel | None = None) -> dict[str, float]:
    found = forecast(Situation(load=load, settings=Settings(), kernel=kernel or Kernel()))
    return {limit.name: limit.connections for limit in found.limits}


def test_connections_that_are_held_use_a_port_each() -> None:
    assert limits(HELD) == {"nat_ports_exhausted": 128}
    assert limits(replace(HELD, destinations=2)) == {"nat_ports_exhausted": 256}
    assert limits(replace(HELD, nat_addresses=3)) == {"nat_ports_exhausted": 384}
    assert limits(replace(HELD, nat=False)) == {}


def test_short_ones_do_not_where_closed_mappings_are_evicted() -> None:
    assert limits(SHORT) == {}
    assert limits(SHORT, OLD) == {"nat_ports_exhausted": 128}, "kept for conntrack's 120 s"
    assert Kernel.of("6.5.0").nat_evicts
    assert not Kernel.of("6.1.0").nat_evicts


def test_clients_with_fewer_ports_than_the_nat_never_exhaust_it() -> None:
    assert limits(replace(HELD, nat_ports=None)) == {}
    many = replace(HELD, nat_ports=None, sources=20, rate=60_000, duration=None, close="server")
    assert "nat_ports_exhausted" in limits(many)


def test_the_rate_that_it_carries() -> None:
    found = forecast(Situation(load=replace(HELD, duration=None)))
    assert found.sustainable_rate == pytest.approx(128 / 2.0)
    assert found.bound_by == "nat_ports_exhausted"
    with pytest.raises(Exception, match="nat_addresses: 0 is less than 1"):
        replace(HELD, nat_addresses=0)
