"""Host-wide limits: one value for every namespace."""

from __future__ import annotations

from typing import Final

from lab.sysctl.catalogue.entry import Sysctl

ENTRIES: Final = (
    Sysctl(
        "net.ipv4.tcp_max_orphans",
        does="most sockets that no process holds any more; above it they are reset",
        price="up to 64 kB each",
        unit="sockets",
        scope="host",
        better="higher",
    ),
    Sysctl(
        "net.ipv4.tcp_mem",
        does="memory of all TCP sockets: low, pressure, most",
        price="above the last value sockets are aborted (TCPAbortOnMemory)",
        unit="pages",
        scope="host",
        kind="integers",
        better="higher",
    ),
    Sysctl(
        "net.core.netdev_max_backlog",
        does="packets a processor queues between driver and stack; veth and loopback use it too",
        price="a long queue is latency",
        unit="packets",
        scope="host",
        default="1000",
        better="higher",
    ),
    Sysctl(
        "net.core.rmem_max",
        does="limit for SO_RCVBUF",
        price="",
        unit="bytes",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.wmem_max",
        does="limit for SO_SNDBUF",
        price="",
        unit="bytes",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.rmem_default",
        does="receive buffer of sockets other than TCP's",
        price="",
        unit="bytes",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.wmem_default",
        does="send buffer of sockets other than TCP's",
        price="",
        unit="bytes",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.default_qdisc",
        does="queueing discipline of new network devices",
        price="",
        kind="text",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.netdev_budget",
        does="packets a softirq round may take",
        price="",
        unit="packets",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.netdev_budget_usecs",
        does="time a softirq round may take",
        price="",
        unit="us",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.rps_sock_flow_entries",
        does="table of receive flow steering",
        price="",
        unit="entries",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.ipv4.udp_mem",
        does="memory of all UDP sockets",
        price="",
        unit="pages",
        scope="host",
        kind="integers",
        bears=False,
    ),
)
