"""What a kernel gives a fresh namespace, by version and memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.capacity import CapacityError, Kernel, Load, Settings, Situation, forecast
from lab.capacity.defaults import defaults, tracked_sizes

MOST, BUCKETS = "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets"


@pytest.mark.parametrize(
    ("version", "memory", "sizes"),
    [
        # As read in guests of 4 GiB and on a host of 23.5.
        ((5, 10), 3.8, (65_536, 16_384)),
        ((6, 1), 3.8, (65_536, 65_536)),
        ((6, 12), 3.8, (65_536, 65_536)),
        ((7, 2), 3.8, (65_536, 65_536)),
        ((6, 18), 23.5, (262_144, 262_144)),
        # By the source.
        ((5, 14), 23.5, (262_144, 65_536)),
        ((5, 10), 0.5, (16_384, 4_096)),
        ((6, 1), 0.05, (1_024, 1_024)),
    ],
)
def test_conntracks_table(version: tuple[int, int], memory: float, sizes: tuple[int, int]) -> None:
    assert tracked_sizes(version, memory) == sizes


@pytest.mark.parametrize(
    ("release", "key", "value"),
    [
        ("4.1", "net.ipv4.ip_local_port_range", "32768 61000"),
        ("4.2", "net.ipv4.ip_local_port_range", "32768 60999"),
        ("4.18.5", "net.ipv4.tcp_tw_reuse", "0"),
        ("4.19", "net.ipv4.tcp_tw_reuse", "2"),
        ("5.3", "net.core.somaxconn", "128"),
        ("5.4", "net.core.somaxconn", "4096"),
        ("6.13", "net.ipv4.tcp_tw_reuse_delay", None),
        ("6.14", "net.ipv4.tcp_tw_reuse_delay", "1000"),
    ],
)
def test_defaults_that_a_release_changed(release: str, key: str, value: str | None) -> None:
    assert defaults(release, 4.0).get(key) == value


@pytest.mark.parametrize(("release", "memory"), [("five", 4.0), ("5.10", 0.0), ("5.10", -1.0)])
def test_what_cannot_be_is_refused(release: str, memory: float) -> None:
    with pytest.raises(CapacityError):
        defaults(release, memory)


@given(
    st.sampled_from(["4.19", "5.10", "5.15", "6.1", "6.12", "6.18", "7.2"]),
    st.floats(0.1, 512),
    st.floats(1, 200_000),
)
def test_every_kernel_has_a_forecast(release: str, memory: float, rate: float) -> None:
    situation = Situation(
        load=Load(rate=rate, tracked=True),
        settings=Settings.of(defaults(release, memory)),
        kernel=Kernel.of(release),
    )
    found = forecast(situation)
    assert found.ports.usable == 28_232
    assert found.conntrack is not None
    assert found.conntrack.most == int(defaults(release, memory)[MOST])
