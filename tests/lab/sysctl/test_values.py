"""Values as the kernel reads and prints them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.sysctl.values import integers, ports, same_value


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        ("1", (1,)),
        ("5000 65000", (5000, 65000)),
        ("5000\t65000", (5000, 65000)),
        ("-1", (-1,)),
        ("0x10", (16,)),
        ("010", (8,)),
        ("0", (0,)),
        ("00", (0,)),
        ("09", None),
        ("", None),
        ("1 # c", None),
        ("1,2", None),
        ("abc", None),
        ("1_000", None),
        ("+5", None),
        ("--5", None),
        ("0b1", None),
        ("0o7", None),
        ("\u0661", None),
    ],
)
def test_numbers_as_the_kernel_reads_them(value: str, numbers: tuple[int, ...] | None) -> None:
    assert integers(value) == numbers


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("", ()),
        ("11211,6379", ((6379, 6379), (11211, 11211))),
        ("1-10,11,5000-5002", ((1, 11), (5000, 5002))),
        ("5,1-9", ((1, 9),)),
        ("11211 # x", None),
        ("a", None),
        ("1-", None),
    ],
)
def test_port_lists(value: str, spans: tuple[tuple[int, int], ...] | None) -> None:
    assert ports(value) == spans


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 30))))
def test_a_port_list_names_the_same_ports_after_merging(pairs: list[tuple[int, int]]) -> None:
    text = ",".join(f"{first}-{first + length}" for first, length in pairs)
    spans = ports(text)
    assert spans is not None
    assert {port for low, high in spans for port in range(low, high + 1)} == {
        port for first, length in pairs for port in range(first, first + length + 1)
    }
    assert all(before[1] + 1 < after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize(
    ("key", "asked", "got", "same"),
    [
        ("net.ipv4.ip_local_port_range", "5000 65000", "5000\t65000", True),
        ("net.ipv4.ip_local_port_range", "5000", "5000\t65000", False),
        ("net.ipv4.tcp_tw_reuse", "0x1", "1", True),
        ("net.ipv4.tcp_tw_reuse", "1", "2", False),
        ("net.ipv4.ip_local_reserved_ports", "11211,6379", "6379,11211", True),
        ("net.ipv4.ip_local_reserved_ports", "11211", "6379", False),
        ("net.ipv4.ip_local_reserved_ports", "", "", True),
        ("net.ipv4.tcp_congestion_control", "bbr", "cubic", False),
        ("net.unknown", "7", "007", True),
    ],
)
def test_values_that_mean_the_same(key: str, asked: str, got: str, same: bool) -> None:
    assert same_value(key, asked, got) is same
