"""Sysctls as numbers, kernels by release, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from lab.capacity import CapacityError, Kernel, Load, Settings, close_seen


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("3.10.0-1160.el7.x86_64", (False, False, False)),
        ("4.1.52", (False, False, False)),
        ("4.2.0", (True, False, False)),
        ("5.15.0-91-generic", (True, False, False)),
        ("6.3", (True, True, False)),
        ("6.7.12", (True, True, False)),
        ("6.8.0-45-generic", (True, True, True)),
        ("6.18.44", (True, True, True)),
        ("10.0.1", (True, True, True)),
    ],
)
def test_a_release_tells_what_the_search_does(
    release: str, expected: tuple[bool, bool, bool]
) -> None:
    kernel = Kernel.of(release)
    assert (kernel.parity_first, kernel.socket_range, kernel.socket_range_in_order) == expected


def test_a_release_without_numbers_is_refused() -> None:
    with pytest.raises(CapacityError, match="'linux'"):
        Kernel.of("linux")


def test_settings_are_read_as_the_kernel_prints_them() -> None:
    found = Settings.of(
        {
            "net.ipv4.ip_local_port_range": "16384\t65535",
            "net.ipv4.ip_local_reserved_ports": "30000-32767,25672",
            "net.ipv4.tcp_tw_reuse": "1",
            "net.ipv4.tcp_tw_reuse_delay": "500",
            "net.ipv4.tcp_timestamps": "1",
            "net.ipv4.tcp_max_tw_buckets": "131072",
            "net.core.somaxconn": "128",
            "net.netfilter.nf_conntrack_max": "262144",
            "net.netfilter.nf_conntrack_buckets": "65536",
            "net.netfilter.nf_conntrack_acct": "1",
            "net.netfilter.nf_conntrack_tcp_timeout_time_wait": "60",
            "net.netfilter.nf_conntrack_tcp_timeout_close": "10",
        }
    )
    assert found == Settings(
        ports=(16_384, 65_535),
        reserved=((25_672, 25_672), (30_000, 32_767)),
        reuse=1,
        reuse_delay=0.5,
        max_time_wait=131_072,
        server_max_time_wait=131_072,
        somaxconn=128,
        tracked_most=262_144,
        tracked_buckets=65_536,
        accounting=True,
        tracked_time_wait=60,
        tracked_close=10,
    )


def test_what_belongs_to_the_server_is_read_there() -> None:
    client = {"net.ipv4.tcp_timestamps": "1", "net.core.somaxconn": "4096"}
    server = {
        "net.ipv4.tcp_timestamps": "0",
        "net.core.somaxconn": "128",
        "net.ipv4.tcp_max_tw_buckets": "7",
        "net.netfilter.nf_conntrack_max": "9",
    }
    found = Settings.of(client, server)
    assert not found.timestamps
    assert found.somaxconn == 128
    assert found.server_max_time_wait == 7
    assert found.max_time_wait is None
    assert found.tracked_most == 9


def test_what_cannot_be_read_is_assumed_and_said() -> None:
    found = Settings.of({})
    assert found.ports == (32_768, 60_999)
    assert "net.ipv4.ip_local_port_range" in found.assumed
    assert found.tracked_most is None


def test_a_kernel_without_the_reuse_delay_has_nothing_to_be_assumed() -> None:
    """Before 6.14 there is no such key, and a second is what such a kernel does."""
    found = Settings.of({})
    assert found.reuse_delay == 1.0
    assert "net.ipv4.tcp_tw_reuse_delay" not in found.assumed


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("net.ipv4.ip_local_port_range", "60999 32768", "60999 32768"),
        ("net.ipv4.ip_local_port_range", "32768", "two ports"),
        ("net.ipv4.ip_local_port_range", "many", "not a whole number"),
        ("net.ipv4.ip_local_reserved_ports", "a-b", "not a list of ports"),
        ("net.ipv4.tcp_tw_reuse", "3", "tcp_tw_reuse = 3"),
        ("net.ipv4.tcp_tw_reuse_delay", "-5", "tcp_tw_reuse_delay"),
    ],
)
def test_values_that_no_kernel_has_are_refused(key: str, value: str, named: str) -> None:
    with pytest.raises(CapacityError, match=named):
        Settings.of({key: value})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rate": 0}, "rate"),
        ({"rate": float("inf")}, "rate"),
        ({"rate": 1, "duration": 0}, "duration"),
        ({"rate": 1, "sources": 0}, "sources"),
        ({"rate": 1, "destinations": 0}, "destinations"),
        ({"rate": 1, "rtt": -1}, "rtt"),
    ],
)
def test_loads_that_cannot_be_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(CapacityError, match=named):
        Load(**options)


@pytest.mark.parametrize(
    ("protocol", "tls", "seen"),
    [
        ("memcached", True, "rst"),
        ("redis", True, "rst"),
        ("http", True, "client"),
        ("memcached", False, "client"),
    ],
)
def test_a_server_s_close_notify_ends_a_connection_with_a_reset(
    protocol: str, tls: bool, seen: str
) -> None:
    assert close_seen("client", protocol, tls=tls) == seen
    assert close_seen("server", protocol, tls=tls) == "server"
