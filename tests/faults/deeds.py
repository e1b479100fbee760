"""What is done on a stage to provoke a fault: each a function that does it, or returns one that does."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

from tests.faults import flood
from tests.faults.network import CLIENT, PORT, SERVER
from tests.faults.stage import Stage

Deed = Callable[[Stage], object]


def memcached(stage: Stage) -> None:
    """Start a memcached."""
    stage.memcached()


def nothing(_: Stage) -> None:
    """Do nothing."""


def ports(low: int, high: int) -> Deed:
    """Return what gives the client so many ports."""
    return lambda stage: stage.network.sysctl(
        stage.network.client, "net.ipv4.ip_local_port_range", f"{low} {high}"
    )


def setting(side: str, name: str, value: str) -> Deed:
    """Return what writes a sysctl on a side."""
    return lambda stage: stage.network.sysctl(stage.network.side(side), name, value)


def greet(stage: Stage) -> None:
    """Have client and server resolve each other's addresses, by one connection."""

    def connect() -> None:
        with socket.create_connection((SERVER, PORT), timeout=2):
            pass

    stage.network.inside(stage.network.client, connect)


def all_of(*deeds: Deed) -> Deed:
    """Return what does several things in their order."""

    def do(stage: Stage) -> None:
        for deed in deeds:
            deed(stage)

    return do


def track(side: str) -> Deed:
    """Return what makes a side track connections."""
    return lambda stage: stage.network.track(stage.network.side(side))


def fill(side: str, room: int = 0) -> Deed:
    """Return what fills a side's connection table but for `room` entries."""
    return lambda stage: stage.network.fill_conntrack(stage.network.side(side), room=room)


def rule(side: str, hook: str, rule: str) -> Deed:
    """Return what adds an nft rule on a side."""
    return lambda stage: stage.network.rule(stage.network.side(side), hook, rule)


def misbehaving(manner: str, *arguments: str) -> Deed:
    """Return what starts a server that can turn bad."""
    return lambda stage: stage.misbehaving(manner, *arguments)


def options(*options: str) -> Deed:
    """Return what starts a memcached with options."""
    return lambda stage: stage.memcached(*options)


def at(t: float, deed: Deed) -> Deed:
    """Return what does something `t` seconds into the run."""

    def do(stage: Stage) -> None:
        if deed is not nothing:
            stage.until_time(t)
            deed(stage)

    return do


def signalled(number: signal.Signals) -> Deed:
    """Return what sends the server a signal."""
    return lambda stage: os.kill(stage.servers[-1].pid, number)


def hold(number: int, role: str = "server") -> Deed:
    """Return what opens connections to the server and keeps them."""
    return lambda stage: stage.hold(number, role)


def ip(side: str, *commands: str) -> Deed:
    """Return what runs ip(8) commands on a side."""
    return lambda stage: stage.network.ip(stage.network.side(side), *commands)


def half_open(stage: Stage) -> None:
    """Send SYNs of which none is answered in the end."""
    stage.network.inside(stage.network.client, lambda: flood.half_open(SERVER, PORT, count=200))


def earlier(number: int, role: str = "client") -> Deed:
    """Return an earlier load, which leaves so many ports in TIME_WAIT."""
    return lambda stage: stage.use_ports(number, role)


def keep_flooding(stage: Stage) -> None:
    """Half-open connections are given up after some seconds: go on while the load begins."""
    stage.keep_flooding()


def forgetful_nat(stage: Stage) -> None:
    """Make a NAT that forgets closed connections after 1 s, and clients that share few ports.

    Which of two addresses has the younger timestamps is drawn by the kernel: of eight, some have
    older ones than the other client's. A RST, which would end the server's TIME_WAIT, is ignored there
    (RFC 1337).
    """
    stage.network.masquerade()
    for state in ("time_wait", "close", "last_ack", "fin_wait", "close_wait"):
        setting("middle", f"net.netfilter.nf_conntrack_tcp_timeout_{state}", "1")(stage)
    setting("server", "net.ipv4.tcp_rfc1337", "1")(stage)
    for side in ("client", "client-2"):
        setting(side, "net.ipv4.ip_local_port_range", "20000 20199")(stage)
    stage.network.ip(
        stage.network.client, *(f"addr add 198.18.0.{number}/16 dev lan" for number in range(2, 9))
    )


def left_behind(stage: Stage) -> None:
    """Leave another client's connections in TIME_WAIT on the server."""
    stage.leave_time_wait(300, "client-2")


FROM_CLIENT = f"ip saddr {CLIENT} tcp dport {PORT}"
TURN_BAD = signalled(signal.SIGUSR1)
SHORT_QUEUE = misbehaving("dawdles", "4", "0.02")
PROXIED = all_of(memcached, lambda stage: stage.haproxy())
