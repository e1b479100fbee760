"""Listening: what decides on the server's side."""

from __future__ import annotations

from typing import Final

from lab.sysctl.catalogue.entry import Sysctl

_INT_MAX: Final = 2**31 - 1

ENTRIES: Final = (
    Sysctl(
        "net.core.somaxconn",
        does="upper limit of listen()'s backlog, the accept queue",
        price="a long queue is latency; the daemon must ask for it too (memcached -b)",
        unit="connections",
        low=0,
        high=_INT_MAX,
        per_namespace="~2.6.25",
        default="4096",
        default_note="128 before 5.4",
        better="higher",
    ),
    Sysctl(
        "net.ipv4.tcp_max_syn_backlog",
        does="half-open connections a listener keeps, without SYN cookies",
        price="no effect while tcp_syncookies is 1",
        unit="connections",
        per_namespace="~4.11",
        default_note="the established hash divided by 128, at least 128",
        better="higher",
    ),
    Sysctl(
        "net.ipv4.tcp_syncookies",
        does="answers with a cookie when the SYN queue is full: 0 never, 1 then, 2 always",
        price="off, a full SYN queue drops connections",
        low=0,
        high=255,
        per_namespace="~4.6",
        default="1",
    ),
    Sysctl(
        "net.ipv4.tcp_synack_retries",
        does="how often a listener repeats its SYN-ACK",
        price="",
        low=0,
        high=255,
        default="5",
    ),
    Sysctl(
        "net.ipv4.tcp_abort_on_overflow",
        does="1 resets a connection that finds the accept queue full, 0 lets the client retry",
        price="a burst that a retry would have survived becomes an error",
        low=0,
        high=255,
        default="0",
    ),
)
