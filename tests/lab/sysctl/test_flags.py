"""Doubts about a tuning, and about the defaults of a fresh namespace."""

from __future__ import annotations

import os

import pytest

from lab.sysctl.apply import read_sysctls
from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.flags import departures, flags
from lab.sysctl.tuning import parse
from lab.tunings import load
from loadgen.sampling.namespace import new_namespace

MODERN = {
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.tcp_timestamps": "1",
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.ip_local_reserved_ports": "",
    "net.ipv4.ip_unprivileged_port_start": "1024",
    "net.ipv4.tcp_max_tw_buckets": "131072",
    "net.core.somaxconn": "4096",
    "net.netfilter.nf_conntrack_max": "262144",
    "net.netfilter.nf_conntrack_buckets": "262144",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait": "120",
}


def doubts(text: str, **host: str) -> list[str]:
    changed = MODERN | {key.replace("__", "."): value for key, value in host.items()}
    return flags(parse(text, name="t", source="t.conf"), changed)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("net.netfilter.nf_conntrack_buckets = 131072", "halves this host's 262144 buckets"),
        ("net.netfilter.nf_conntrack_buckets = 16384", "lowers this host's 262144 buckets"),
        ("net.netfilter.nf_conntrack_max = 65536", "lowers this host's 262144"),
        ("net.netfilter.nf_conntrack_tcp_timeout_time_wait = 240", "raises this host's 120"),
        ("net.core.somaxconn = 128", "lowers this host's 4096"),
        ("net.ipv4.tcp_max_tw_buckets = 5000", "hides port exhaustion"),
        ("net.ipv4.tcp_timestamps = 0", "tcp_tw_reuse reuses nothing"),
        ("net.ipv4.tcp_fin_timeout = 10", "does not shorten TIME_WAIT"),
        ("net.ipv4.tcp_tw_reuse = 2", "loopback only"),
        ("net.ipv4.tcp_tw_reuse = 0", "turns reuse off"),
        ("net.ipv4.tcp_syncookies = 0", "drops connections"),
        ("net.ipv4.tcp_abort_on_overflow = 1", "connection resets"),
        ("net.ipv4.ip_local_port_range = 40000 40999", "fewer than this host's 28232"),
        ("net.ipv4.ip_local_port_range = 32768 61000", "odd number"),
        ("net.ipv4.ip_local_port_range = 1000 65535", "below ip_unprivileged_port_start (1024)"),
        ("net.ipv4.ip_local_port_range = 40000 40999", "takes away 27,232"),
        ("net.ipv4.ip_local_reserved_ports = 32768-60999", "takes away all 28,232 ports"),
        ("net.ipv4.ip_local_reserved_ports = 50000-61000", "11,000 of the 28,232 ports"),
        ("net.ipv4.ip_local_port_range = 10000 64999", "11211 (memcached)"),
        ("-net.netfilter.nf_conntrack_buckets = 1024", "lowers"),
    ],
)
def test_a_line_that_makes_things_worse_is_flagged(line: str, says: str) -> None:
    found = doubts(line)
    assert any(says in doubt for doubt in found), found
    assert all(doubt.startswith("line 1: net.") for doubt in found)


@pytest.mark.parametrize(
    "line",
    [
        "net.ipv4.tcp_tw_reuse = 1",
        "net.ipv4.tcp_timestamps = 1",
        "net.ipv4.ip_local_port_range = 32768 65535",
        "net.ipv4.ip_local_port_range = 32768 60999",
        "net.netfilter.nf_conntrack_max = 262144",
        "net.netfilter.nf_conntrack_max = 524288",
        "net.netfilter.nf_conntrack_buckets = 262144",
        "net.core.somaxconn = 65535",
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait = 60",
        "net.ipv4.ip_local_reserved_ports = 11211",
        "vm.swappiness = 0",
    ],
)
def test_a_line_that_does_no_harm_is_not(line: str) -> None:
    assert doubts(line) == []


def test_reserved_ports_are_not_counted_as_taken_in() -> None:
    found = doubts(
        "net.ipv4.ip_local_port_range = 11000 65535\n"
        "net.ipv4.ip_local_reserved_ports = 11211,15672,25672,26379,27017,30000-32767\n"
    )
    assert found == []


def test_a_list_of_reserved_ports_that_drops_the_hosts_is_flagged() -> None:
    found = doubts(
        "net.ipv4.ip_local_reserved_ports = 8080",
        net__ipv4__ip_local_reserved_ports="6379,8080,9000-9005",
    )
    assert found == [
        "line 1: net.ipv4.ip_local_reserved_ports = 8080: "
        "drops ports that this host reserves now: 6379,9000-9005"
    ]


def test_nothing_is_compared_with_a_host_that_is_not_known() -> None:
    tuning = parse("net.netfilter.nf_conntrack_buckets = 1\n", name="t", source="t.conf")
    assert flags(tuning, {}) == []


def test_the_articles_flags_on_a_modern_host() -> None:
    """The advice halves the hash, counts the ports wrong, and takes memcached's own port."""
    text = "\n".join(flags(load("article"), MODERN))
    assert "halves this host's 262144 buckets" in text
    assert "60001 ports are an odd number" in text
    assert "11211 (memcached)" in text


def test_the_recommended_tuning_has_no_flag_on_a_modern_host() -> None:
    assert flags(load("recommended"), MODERN) == []


def test_a_fresh_namespace_that_is_not_default_is_seen() -> None:
    (line,) = departures({"net.ipv4.tcp_tw_reuse": "1", "net.core.somaxconn": "4096"})
    assert line.startswith("net.ipv4.tcp_tw_reuse is 1 in a fresh namespace")


def test_inherited_and_shared_values_are_no_departure() -> None:
    assert departures({"net.ipv4.tcp_rmem": "1 2 3", "net.netfilter.nf_conntrack_max": "7"}) == []


@pytest.mark.kernel
def test_a_fresh_namespace_has_the_documented_defaults() -> None:
    """What `kernel-default` rests on, on the kernel at hand."""
    namespace = new_namespace()
    try:
        fresh = read_sysctls(namespace, CATALOGUE)
    finally:
        os.close(namespace)
    assert {"net.ipv4.tcp_tw_reuse", "net.ipv4.ip_local_port_range"} <= fresh.keys()
    assert departures(fresh) == []


@pytest.mark.parametrize(
    ("text", "doubts"),
    [
        ("net.ipv4.ip_local_port_step_width = 0\n", []),
        ("net.ipv4.ip_local_port_step_width = 1009\n", ["neither adds any"]),
        (
            "net.ipv4.ip_local_reserved_ports = 40000-40999,50000\n"
            "net.ipv4.ip_local_port_step_width = 1000\n",
            ["neither adds any", "which has 1000 ports"],
        ),
    ],
)
def test_a_step_width_spreads_ports_and_does_no_more(text: str, doubts: list[str]) -> None:
    found = [line for line in flags(parse(text, name="x", source="x"), {}) if "step_width" in line]
    assert len(found) == len(doubts)
    assert all(doubt in line for doubt, line in zip(doubts, found, strict=True))
