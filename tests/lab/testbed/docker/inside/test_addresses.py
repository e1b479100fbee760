"""Benchmark addresses: which, how they are taken, and what rights are left afterwards."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.testbed.docker.inside import addresses
from lab.testbed.processes import enter, tool
from loadgen.sampling.namespace import new_namespace, run_inside


@pytest.mark.parametrize(
    ("docker", "benchmark"),
    [
        ("172.17.0.2", "198.18.17.2"),
        ("172.20.0.3", "198.18.20.3"),
        ("172.31.0.254", "198.18.31.254"),
        ("192.168.16.3", "198.19.16.3"),
        ("192.168.240.9", "198.19.240.9"),
        ("10.1.2.3", "198.18.1.3"),
        ("198.18.7.3", "198.18.7.3"),
        ("198.19.255.3", "198.19.255.3"),
    ],
)
def test_it_follows_from_dockers(docker: str, benchmark: str) -> None:
    assert addresses.benchmark_address(docker) == benchmark


@given(st.ip_addresses(v=4).map(str))
def test_it_is_always_one_of_rfc_2544_with_the_same_last_byte(docker: str) -> None:
    found = addresses.benchmark_address(docker)
    assert IPv4Address(found) in IPv4Network("198.18.0.0/15")
    assert addresses.benchmark_address(found) == found
    if IPv4Address(docker) not in IPv4Network("198.18.0.0/15"):
        assert found.rpartition(".")[2] == docker.rpartition(".")[2]


def test_dockers_own_networks_stay_apart() -> None:
    """Its pools are 172.17.0.0/16 to 172.31.0.0/16, then 16 parts of 192.168.0.0/16."""
    nets = [f"172.{n}.0.2" for n in range(17, 32)] + [f"192.168.{n}.2" for n in range(0, 256, 16)]
    assert len({addresses.benchmark_address(net) for net in nets}) == len(nets)


@pytest.fixture
def container() -> Iterator[int]:
    """A namespace with what Docker gives a container: an eth0 with an address."""
    namespace = new_namespace()
    commands = (
        "link add eth0 type veth peer name other\naddr add 172.20.0.3/16 dev eth0\n"
        "link set eth0 up\nlink set other up\nlink set lo up\n"
    )
    subprocess.run(
        [*enter(namespace), tool("ip"), "-batch", "-"],
        input=commands.encode(),
        pass_fds=(namespace,),
        check=True,
    )
    yield namespace
    os.close(namespace)


def usable(address: str) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            return False
    return True


@pytest.mark.kernel
def test_a_container_finds_its_own_and_takes_the_other(container: int) -> None:
    assert run_inside(container, addresses.own_address) == "172.20.0.3"
    assert not run_inside(container, lambda: usable("198.18.20.3"))
    assert run_inside(container, addresses.join) == "198.18.20.3"
    assert run_inside(container, lambda: usable("198.18.20.3"))
    assert run_inside(container, addresses.own_address) == "172.20.0.3"


@pytest.mark.kernel
def test_a_client_takes_the_address_that_all_clients_take_in_turn(container: int) -> None:
    joined = run_inside(container, lambda: addresses.join(addresses.CLIENT))
    assert joined == "198.18.20.254"


@pytest.mark.kernel
def test_further_addresses_are_added_beside_the_first(container: int) -> None:
    wanted = [f"198.18.0.{number}" for number in range(10, 15)]
    for number, address in enumerate(wanted, start=1):
        run_inside(container, lambda a=address, n=number: addresses.add(a, n))  # type: ignore[misc]
    assert all(run_inside(container, lambda a=a: usable(a)) for a in wanted)  # type: ignore[misc]


@pytest.mark.kernel
def test_without_an_eth0_there_is_no_address() -> None:
    namespace = new_namespace()
    try:
        with pytest.raises(OSError, match="No such device"):
            run_inside(namespace, addresses.own_address)
    finally:
        os.close(namespace)


def test_a_name_that_does_not_resolve_is_an_oserror() -> None:
    with pytest.raises(OSError):  # noqa: PT011 - the resolver's words depend on the machine
        addresses.resolve("no-such-service.invalid")
    assert addresses.resolve("127.0.0.1") == ["127.0.0.1"]


STEPS = """
import json, os, sys
from pathlib import Path
from lab.testbed.docker.inside import addresses

addresses.USER = "nobody"

def state():
    status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [os.geteuid(), int(status["CapEff"], 16) != 0]

told = [state()]
addresses.suspend_privileges()
told.append(state())
try:
    addresses.join()
except OSError:
    pass  # there is no eth0 here; it is user 0 again all the same
told.append(state())
addresses.drop_privileges()
told.append(state())
addresses.drop_privileges()
try:
    os.seteuid(0)
except PermissionError:
    told.append("for good")
print(json.dumps(told))
"""


@pytest.mark.kernel
@pytest.mark.skipif(
    "4294967295" not in Path("/proc/self/uid_map").read_text(),
    reason="only the host's root may become another user",
)
def test_capabilities_go_come_back_for_the_address_and_go_for_good() -> None:
    namespace = new_namespace()
    try:
        done = subprocess.run(
            [*enter(namespace), sys.executable, "-c", STEPS],
            capture_output=True,
            text=True,
            pass_fds=(namespace,),
            check=True,
        )
    finally:
        os.close(namespace)
    root, low, joining, ordinary, fixed = json.loads(done.stdout)
    assert root == [0, True]
    assert low[0] != 0
    assert low[1] is False
    assert joining == [0, True]
    assert ordinary == low
    assert fixed == "for good"
