"""Memory and speed of a connection."""

from __future__ import annotations

from typing import Final

from lab.sysctl.catalogue.entry import Sysctl

ENTRIES: Final = (
    Sysctl(
        "net.ipv4.tcp_rmem",
        does="receive buffer of a TCP socket: least, default, most",
        price="",
        inherited=True,
        unit="bytes",
        low=1,
        kind="integers",
        per_namespace="4.15",
        bears=False,
    ),
    Sysctl(
        "net.ipv4.tcp_wmem",
        does="send buffer of a TCP socket: least, default, most",
        price="",
        inherited=True,
        unit="bytes",
        low=1,
        kind="integers",
        per_namespace="4.15",
        bears=False,
    ),
    Sysctl(
        "net.ipv4.tcp_congestion_control",
        does="congestion control of new connections",
        price="",
        inherited=True,
        kind="text",
        per_namespace="4.15",
        bears=False,
    ),
)
