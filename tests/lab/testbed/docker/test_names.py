"""Which subnets are free."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import islice

import pytest

from lab.testbed.docker.names import free_subnets


def first(taken: list[str], addresses: int, count: int = 1) -> list[str]:
    return [str(subnet) for subnet in islice(free_subnets(taken, addresses), count)]


@pytest.mark.parametrize(
    ("taken", "addresses", "subnet"),
    [
        ([], 2, "198.18.0.0/24"),
        ([], 253, "198.18.0.0/24"),
        ([], 254, "198.18.0.0/23"),
        ([], 4096 + 200, "198.18.0.0/19"),
        (["198.18.0.0/24", "172.17.0.0/16", "fd00::/64"], 2, "198.18.1.0/24"),
        (["198.18.0.0/16"], 2, "198.19.0.0/24"),
        (["198.18.0.5/30"], 2, "198.18.1.0/24"),
    ],
)
def test_the_first_free_subnet_has_room(taken: list[str], addresses: int, subnet: str) -> None:
    assert first(taken, addresses) == [subnet]
    network = IPv4Network(subnet)
    assert network.num_addresses >= addresses + 3  # network, gateway, broadcast


def test_there_may_be_none() -> None:
    assert first(["198.18.0.0/15"], 2) == []
    assert first(["0.0.0.0/0"], 2) == []
