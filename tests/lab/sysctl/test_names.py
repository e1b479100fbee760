"""Names of the past and the modules behind names; the two ways of writing are in test_tuning."""

from __future__ import annotations

import pytest

from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.names import missing_module, obsolete


@pytest.mark.parametrize(
    ("old", "became"),
    [
        ("net.ipv4.netfilter.ip_conntrack_max", "net.netfilter.nf_conntrack_max"),
        ("net.ipv4.netfilter.ip_conntrack_buckets", "net.netfilter.nf_conntrack_buckets"),
        (
            "net.ipv4.netfilter.ip_conntrack_tcp_timeout_time_wait",
            "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
        ),
        ("net.ipv4.ip_conntrack_max", "net.netfilter.nf_conntrack_max"),
        ("net.nf_conntrack_max", "net.netfilter.nf_conntrack_max"),
        ("net.ipv4.tcp_tw_recycle", ""),
    ],
)
def test_what_became_of_a_name(old: str, became: str) -> None:
    past = obsolete(old)
    assert past is not None
    assert past.became == became
    assert past.why
    assert not became or became in CATALOGUE


@pytest.mark.parametrize("key", ["net.ipv4.tcp_tw_reuse", "vm.swappiness", "net.ipv4.no_such"])
def test_a_name_that_is_not_of_the_past(key: str) -> None:
    assert obsolete(key) is None


@pytest.mark.parametrize(
    ("key", "module"),
    [
        ("net.netfilter.nf_conntrack_max", "nf_conntrack"),
        ("net.bridge.bridge-nf-call-iptables", "br_netfilter"),
        ("net.netfilter.nf_log.2", ""),
        ("net.core.somaxconn", ""),
    ],
)
def test_the_module_that_brings_a_key(key: str, module: str) -> None:
    assert missing_module(key) == module
