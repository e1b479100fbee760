"""A NAT's ports, from the table of connections and from the rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.sampling.namespace import new_namespace
from loadgen.sampling.nat import DEFAULT_PORTS, NatReader, fullest, ports_of


def entry(
    client: str, port: int, seen_as: str, seen_port: int, server: str = "198.19.0.1"
) -> bytes:
    return (
        f"ipv4     2 tcp      6 117 TIME_WAIT src={client} dst={server} sport={port} dport=11211 "
        f"[UNREPLIED] src={server} dst={seen_as} sport=11211 dport={seen_port} [ASSURED] use=1\n"
    ).encode()


def test_translated_connections_are_counted_by_destination() -> None:
    table = b"".join(
        (
            entry("198.18.0.1", 40000, "198.19.0.254", 10000),
            entry("198.18.0.2", 40000, "198.19.0.254", 10001),
            entry("198.18.0.2", 40001, "198.19.0.254", 10000, server="198.19.0.2"),
            entry("198.18.0.3", 40000, "198.18.0.3", 40000),  # not translated
        )
    )
    assert fullest(table) == 2
    assert fullest(entry("198.18.0.3", 40000, "198.18.0.3", 40000)) is None
    assert fullest(b"") is None


@given(st.binary(max_size=200))
def test_damaged_tables_do_no_harm(table: bytes) -> None:
    fullest(table)


@pytest.mark.parametrize(
    ("actions", "ports"),
    [
        ([{"masquerade": {"port": {"range": [10000, 10049]}}}], 50),
        ([{"masquerade": None}], DEFAULT_PORTS),
        ([{"snat": {"addr": "198.19.0.254", "port": 10000}}], 1),
        ([{"snat": {"addr": "198.19.0.254"}}, {"masquerade": {"port": {"range": [1, 9]}}}], 9),
        ([{"drop": None}], None),
        ([], None),
    ],
)
def test_rules_tell_how_many_ports_there_are(actions: list[Any], ports: int | None) -> None:
    rules = [{"metainfo": {}}, *({"rule": {"expr": [action]}} for action in actions)]
    assert ports_of(json.dumps({"nftables": rules})) == ports


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"nftables": 3}', '{"nftables": [1]}'])
def test_what_is_no_ruleset_tells_nothing(text: str) -> None:
    assert ports_of(text) is None


@pytest.mark.kernel
def test_a_namespace_without_rules_has_no_ports_of_its_own() -> None:
    reader = NatReader(int(new_namespace()))
    try:
        assert reader.read(force=True) == {}
        assert set(reader.absent) == {"nat_ports_in_use", "nat_ports_limit"}
    finally:
        reader.close()
    assert reader.read(force=True) == {}
