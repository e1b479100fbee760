"""Connection tracking. The limit belongs to the host, the count and the timers to a namespace."""

from __future__ import annotations

from typing import Final

from lab.sysctl.catalogue.entry import Sysctl

ENTRIES: Final = (
    Sysctl(
        "net.netfilter.nf_conntrack_max",
        does="most entries a namespace's connection tracking holds; one more and packets are dropped",
        price="256 bytes an entry (384 with nf_conntrack_acct)",
        unit="entries",
        scope="host",
        default_note="equal to nf_conntrack_buckets since 5.15, four times as much before",
        better="higher",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_buckets",
        does="size of the one hash table that all namespaces share; an entry is in it twice",
        price="8 bytes a bucket; too few make every lookup walk a chain",
        unit="buckets",
        scope="host",
        default_note="262144 with more than 4 GB of memory since 5.15, 65536 before; writable "
        "since ~4.8",
        better="higher",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_expect_max",
        does="most expected connections (FTP, SIP helpers)",
        price="",
        unit="entries",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
        does="how long conntrack keeps a closed connection; a timer of its own, not TIME_WAIT's",
        price="below 60 s a NAT may reuse a tuple that an end still holds in TIME_WAIT",
        unit="s",
        per_namespace="~3.6",
        default="120",
        better="lower",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_timeout_fin_wait",
        does="how long conntrack waits for the second FIN",
        price="",
        unit="s",
        per_namespace="~3.6",
        default="120",
        better="lower",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_timeout_close",
        does="how long conntrack keeps a connection ended by RST",
        price="",
        unit="s",
        per_namespace="~3.6",
        default="10",
        better="lower",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_timeout_established",
        does="how long conntrack keeps an idle established connection",
        price="shorter than a real idle time, the connection is cut when a rule needs its state",
        unit="s",
        per_namespace="~3.6",
        default="432000",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_loose",
        does="1 lets conntrack pick up a connection whose handshake it did not see",
        price="",
        low=0,
        high=1,
        per_namespace="~3.6",
        default="1",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_acct",
        does="counts packets and bytes of each entry",
        price="128 bytes more an entry",
        low=0,
        high=1,
        per_namespace="~3.6",
        default="0",
    ),
)
