"""Who owns what is on an engine, and which subnets are free."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import IPv4Network
from itertools import islice

import pytest

from lab.testbed.docker.names import Owner, free_subnets, start_of
from lab.testbed.host.journal import boot_id


def test_this_process_owns_what_it_makes_and_is_alive() -> None:
    owner = Owner.parse(str(Owner.this()))
    assert owner == Owner.this()
    assert owner.pid == os.getpid()
    assert owner.here()
    assert owner.alive()


def test_a_process_that_has_ended_is_not_alive_nor_is_a_zombie() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner(boot_id(), child.pid, start_of(child.pid) or 0)
    assert owner.alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not owner.alive()  # not reaped yet
    child.communicate()
    assert not owner.alive()


def test_a_process_id_used_again_misleads_nobody() -> None:
    assert not Owner(boot_id(), os.getpid(), (start_of(os.getpid()) or 0) + 1).alive()


def test_of_a_lab_elsewhere_nothing_is_known() -> None:
    owner = Owner("another-boot", os.getpid(), start_of(os.getpid()) or 0)
    assert not owner.here()
    assert owner.alive()


@pytest.mark.parametrize("text", ["", "x", "x/1", "x/y/1", "x/1/y", "///"])
def test_a_label_that_is_none_of_ours_names_nobody(text: str) -> None:
    owner = Owner.parse(text)
    assert not owner.here()


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
