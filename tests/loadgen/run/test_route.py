"""The route decides where load may go: a namespace that owns an address is not where packets go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loadgen.run.resolve import addresses_of
from loadgen.run.route import leads_into
from loadgen.sampling.namespace import new_namespace, run_inside
from loadgen.target import Target
from tests.loadgen.sampling.network import run

pytestmark = pytest.mark.kernel
OUTSIDE = "203.0.113.5"


@dataclass
class World:
    """Namespaces by letter, wired as a test says."""

    descriptors: dict[str, int] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """Return a namespace as `--netns` takes it; made when first asked for."""
        if name not in self.descriptors:
            self.descriptors[name] = new_namespace()
            self.ip(name, "link", "set", "lo", "up")
        return f"/proc/{os.getpid()}/fd/{self.descriptors[name]}"

    def ip(self, name: str, *words: str) -> None:
        run_inside(self.descriptors[name], lambda: run("ip", *words))

    def wire(self, one: str, other: str, net: str) -> None:
        """Join two namespaces by a veth pair, .1 and .2 of a /24."""
        self.path(one), self.path(other)
        veth = ("link", "add", f"to-{other}", "type", "veth", "peer", "name", f"to-{one}")
        self.ip(one, *veth, "netns", self.path(other))
        for name, peer, last in ((one, other, 1), (other, one, 2)):
            self.ip(name, "addr", "add", f"{net}.{last}/24", "dev", f"to-{peer}")
            self.ip(name, "link", "set", f"to-{peer}", "up")

    def own(self, name: str, address: str = OUTSIDE) -> None:
        self.path(name)
        self.ip(name, "addr", "add", f"{address}/32", "dev", "lo")

    def forward(self, name: str) -> None:
        setting = Path("/proc/sys/net/ipv4/ip_forward")
        run_inside(self.descriptors[name], lambda: setting.write_text("1"))

    def leads(self, *names: str, to: str = OUTSIDE) -> bool:
        """Return what namespace `a` finds out about the way to an address."""
        paths = [self.path(name) for name in names]
        return run_inside(self.descriptors["a"], lambda: leads_into(to, paths))

    def received(self, name: str) -> int:
        """Return how many IP packets have reached a namespace."""
        text = run_inside(
            self.descriptors[name], lambda: Path("/proc/thread-self/net/snmp").read_text()
        )
        names, values = [line.split() for line in text.splitlines() if line.startswith("Ip:")]
        return int(values[names.index("InReceives")])


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    for descriptor in made.descriptors.values():
        os.close(descriptor)


def test_a_namespace_next_door_that_owns_the_address_is_where_packets_go(world: World) -> None:
    world.wire("a", "b", "10.77.1")
    world.own("b")
    world.ip("a", "route", "add", "default", "via", "10.77.1.2")
    assert world.leads("b")
    assert world.leads("b", to="10.77.1.2")


def test_a_named_router_is_walked_through_and_one_that_is_not_named_ends_the_walk(
    world: World,
) -> None:
    world.wire("a", "b", "10.77.1")
    world.wire("b", "c", "10.77.2")
    world.own("c")
    world.forward("b")
    world.ip("a", "route", "add", "default", "via", "10.77.1.2")
    world.ip("b", "route", "add", f"{OUTSIDE}/32", "via", "10.77.2.2")
    assert world.leads("b", "c")
    assert not world.leads("c")
    assert not world.leads("b")


def test_an_owner_elsewhere_is_not_the_way(world: World) -> None:
    """The default route leads to a stranger, while another namespace owns the address."""
    world.wire("a", "stranger", "10.77.1")
    world.own("c")
    world.ip("a", "route", "add", "default", "via", "10.77.1.2")
    assert not world.leads("c")


def test_the_same_address_on_two_links_is_told_apart(world: World) -> None:
    world.wire("a", "stranger", "10.77.1")
    world.wire("other", "c", "10.77.1")
    assert world.leads("stranger", to="10.77.1.2")
    assert not world.leads("c", to="10.77.1.2")


def test_without_a_route_or_an_answer_or_in_a_loop_it_leads_nowhere(world: World) -> None:
    world.wire("a", "b", "10.77.1")
    assert not world.leads("b")
    assert not world.leads("b", to="10.77.1.9")
    world.ip("a", "route", "add", "default", "via", "10.77.1.2")
    world.ip("b", "route", "add", "default", "via", "10.77.1.1")
    assert not world.leads("a", "b")


def test_an_address_of_one_s_own_needs_no_way(world: World) -> None:
    world.own("a")
    found = run_inside(
        world.descriptors["a"], lambda: addresses_of([Target(OUTSIDE, 11211)], (), ())
    )
    assert found == [(OUTSIDE, 11211)]


@pytest.mark.parametrize("target", ["8.8.8.8:53", "[::ffff:8.8.8.8]:53", "10.77.1.2:53"])
def test_no_packet_leaves_through_the_default_route(world: World, target: str) -> None:
    """Counted where they would arrive, for the command as a user types it."""
    world.wire("a", "stranger", "10.77.1")
    world.own("stranger", "8.8.8.8")
    world.own("c", "8.8.8.8")
    world.own("c", "10.77.1.2")
    world.ip("a", "route", "add", "default", "via", "10.77.1.2")
    command = [sys.executable, "-m", "loadgen", "run", target, "--netns", world.path("c")]
    done = run_inside(
        world.descriptors["a"],
        lambda: subprocess.run(
            [*command, "--duration", "1s", "--quiet"], capture_output=True, text=True, check=False
        ),
    )
    assert done.returncode == 2
    assert "add --allow-target" in done.stderr
    assert world.received("stranger") == 0
