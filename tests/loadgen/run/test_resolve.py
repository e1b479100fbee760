"""Names to addresses, and whether load may go there from this very namespace."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.run.resolve import addresses_of, check_sources, parse_namespaces
from loadgen.sampling.namespace import new_namespace, run_inside
from loadgen.target import Target
from tests.loadgen.sampling.network import run


def _addresses(*hosts: str, allow: tuple[str, ...] = ()) -> list[tuple[str, int]]:
    networks = [ipaddress.ip_network(network) for network in allow]
    return addresses_of([Target(host, 11211) for host in hosts], networks, ())


def test_a_name_is_resolved_once() -> None:
    assert _addresses("localhost")[0][0] in {"127.0.0.1", "::1"}
    assert _addresses("127.0.0.1", "198.18.0.1") == [("127.0.0.1", 11211), ("198.18.0.1", 11211)]


@pytest.mark.parametrize("host", ["192.0.2.1", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8"])
def test_load_goes_nowhere_else_without_a_word(host: str) -> None:
    with pytest.raises(
        ValueError, match="if the host is yours to load, add --allow-target"
    ) as caught:
        _addresses(host)
    network = str(caught.value).rpartition("--allow-target ")[2]
    assert _addresses(host, allow=(network,)) == [(host, 11211)]


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "no host"])
def test_what_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=f"target {host}:11211 does not resolve"):
        _addresses(host)


def test_families_do_not_mix() -> None:
    with pytest.raises(ValueError, match="targets mix IPv4 and IPv6"):
        _addresses("127.0.0.1", "::1")
    with pytest.raises(ValueError, match="source ::1 and the targets mix IPv4 and IPv6"):
        check_sources(["::1"], [("127.0.0.1", 11211)])


@pytest.fixture
def floating() -> Iterator[int]:
    """A namespace with one address outside the safe ranges, where bind() accepts any address."""
    namespace = new_namespace()

    def prepare() -> None:
        run("ip", "link", "set", "lo", "up")
        run("ip", "addr", "add", "203.0.113.5/32", "dev", "lo")
        run("ip", "route", "add", "default", "dev", "lo")
        Path("/proc/sys/net/ipv4/ip_nonlocal_bind").write_text("1")

    run_inside(namespace, prepare)
    yield namespace
    os.close(namespace)


@pytest.mark.kernel
def test_an_address_of_the_namespace_s_own_is_safe_and_no_other_is(floating: int) -> None:
    """Also where net.ipv4.ip_nonlocal_bind would let bind() pass for any address."""
    assert run_inside(floating, lambda: _addresses("203.0.113.5")) == [("203.0.113.5", 11211)]
    with pytest.raises(ValueError, match=r"--allow-target 203.0.113.6/32"):
        run_inside(floating, lambda: _addresses("203.0.113.6"))


@pytest.mark.parametrize(
    ("source", "message"),
    [("192.0.2.7", "is not an address of this host"), ("lo", "'lo' is not an IP address")],
)
def test_a_source_that_is_not_ours_is_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_sources([source])


def test_any_loopback_address_is_a_source() -> None:
    check_sources(["127.0.0.1", "127.9.9.9"], [("127.0.0.1", 11211)])


@pytest.mark.parametrize(
    ("texts", "roles"),
    [
        ([], {}),
        (["ns"], {"server": "ns"}),
        (["1234", "host=/run/x"], {"server": "1234", "host": "/run/x"}),
        (["client=a", "server=b"], {"client": "a", "server": "b"}),
        (
            ["nat=a", "proxy=b", "router=c", "client-2=d", "client-10=e"],
            {"nat": "a", "proxy": "b", "router": "c", "client-2": "d", "client-10": "e"},
        ),
    ],
)
def test_namespaces_are_read(texts: list[str], roles: dict[str, str]) -> None:
    assert parse_namespaces(texts) == roles


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["bridge=x"], "the role is one of"),
        (["client-1=x"], "the role is one of"),
        (["a", "server=b"], "has a namespace already: a"),
    ],
)
def test_what_names_no_namespace_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_namespaces(texts)
