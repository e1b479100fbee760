"""TIME_WAIT: how long it lasts, and who has it.

A socket enters TIME_WAIT when it has sent its FIN first and has seen the other's (RFC 9293, 3.6).
Linux keeps it for TCP_TIMEWAIT_LEN, a constant of 60 s in include/net/tcp.h. tcp_fin_timeout is
about the state before: FIN-WAIT-2, when the peer's FIN has not come.

The constant is a least value. Since commit 500462a9de65 (Linux 4.8) a timer expires at the next step
of the timer wheel, whose steps grow with the timeout, to at most an eighth of it. 60 s fall among
steps of 2.05 s where CONFIG_HZ is 250 (4.1 s at 1000, 5.12 s at 100), so sockets closed at different
moments leave together, 60 to 62.05 s old. Several groups show the spread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from lab.claims.connections import PORT, Close, burst, serve
from lab.claims.experiments.base import ClaimExperiment
from lab.claims.experiments.ports import LOW, RANGE, REUSE
from lab.claims.findings import Holders, Lifetimes
from lab.testbed import tracking
from lab.testbed.base import TestbedError, UntestableError
from lab.testbed.ground import Ground, Watch, sleep
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.sampling import PortReader

TIME_WAIT: Final = "sockstat_TCP_tw"
FIN_TIMEOUT: Final = 5
_SOCKETS: Final = 20
_GROUPS: Final = 4
_LONGEST: Final = 75.0
"""Seconds after which a socket that is still there has outlived every expectation."""
_LOOK: Final = 0.1
"""Seconds between two looks, and so the resolution of a lifetime on a quiet machine."""


def _track(ground: Ground) -> bool:
    """Make the client track its connections; tell whether it does."""
    try:
        tracking.enable(ground.namespace(ROLE_CLIENT))
    except TestbedError:
        return False
    return True


def _watch_them_go(ground: Ground, closed: Mapping[int, float]) -> tuple[dict[int, float], float]:
    """Look until no group has a socket left.

    Args:
        ground: where.
        closed: when the group toward each port was closed, on CLOCK_MONOTONIC.

    Returns:
        The age at which each group was gone, and the longest time between two looks.
    """
    ports = PortReader(ground.client)
    ground.stack.callback(ports.close)
    gone: dict[int, float] = {}
    looked, widest = time.monotonic(), 0.0
    while len(gone) < len(closed) and looked - max(closed.values()) < _LONGEST:
        found = ports.read(force=True)
        if found is None:
            raise UntestableError(f"sockets cannot be counted: {ports.reason}")
        now = time.monotonic()
        widest, looked = max(widest, now - looked), now
        held = {pool.port for pool in found.pools}
        for port, moment in closed.items():
            if port not in held:
                gone.setdefault(port, now - moment)
        sleep(_LOOK)
    return {port: gone.get(port, _LONGEST) for port in closed}, widest


def lifetimes(ground: Ground) -> Lifetimes:
    """Close groups of connections, half a second apart, and watch their ports become free."""
    services = [serve(ground, PORT + number) for number in range(1 + _GROUPS)]
    ground.set(ROLE_CLIENT, {"net.ipv4.tcp_fin_timeout": FIN_TIMEOUT, REUSE: 0})
    tracked = _track(ground)
    closed = {}
    for service in services:
        # The first group's server never closes its end.
        burst(ground, service, _SOCKETS, close="half" if service.port == PORT else "client")
        closed[service.port] = time.monotonic()
        sleep(0.5)
    gone, resolution = _watch_them_go(ground, closed)
    fin_wait_2 = gone.pop(PORT)
    ages = list(gone.values())
    evidence = [
        f"tcp_fin_timeout={FIN_TIMEOUT}: {_GROUPS} groups of {_SOCKETS} sockets in TIME_WAIT were "
        f"gone {', '.join(f'{age:.1f}' for age in ages)} s after they were closed",
        f"{_SOCKETS} sockets in FIN-WAIT-2, whose peer sent no FIN, were gone after "
        f"{fin_wait_2:.1f} s",
        f"looked at least every {resolution:.2f} s",
    ]
    entries = None
    if tracked:
        listed = tracking.entries(ground.namespace(ROLE_CLIENT))
        entries = [entry for entry in listed if entry.port == PORT + 1]
        left = max((entry.left for entry in entries), default=0)
        evidence.append(
            f"conntrack then still had {len(entries)} entries of the first {_SOCKETS} connections, "
            f"with {left} s left"
        )
    return Lifetimes(
        fin_timeout=FIN_TIMEOUT,
        sockets=_SOCKETS,
        time_wait=ages,
        fin_wait_2=fin_wait_2,
        resolution=resolution,
        tracked_after=len(entries) if entries is not None else None,
        tracked_left=left if entries is not None else None,
        evidence=evidence,
    )


def _settled(client: Watch, server: Watch) -> tuple[int, int]:
    """Return the TIME_WAIT sockets of both sides when all are there, or after half a second."""
    end = time.monotonic() + 0.5
    while True:
        found = client.moved(TIME_WAIT), server.moved(TIME_WAIT)
        if sum(found) >= _SOCKETS or time.monotonic() > end:
            return found
        sleep(0.02)


def holders(ground: Ground) -> Holders:
    """Close connections in each way and count the TIME_WAIT sockets on both sides."""
    watches = ground.watch(ROLE_CLIENT), ground.watch(ROLE_SERVER)
    left: dict[Close, tuple[int, int]] = {}
    ground.set(ROLE_CLIENT, {REUSE: 0})
    ways: tuple[Close, ...] = ("client", "server", "rst")
    for number, close in enumerate(ways):
        for watch in watches:
            watch.reset()
        burst(ground, serve(ground, PORT + number), _SOCKETS, close=close)
        left[close] = _settled(*watches)
    ports = 50
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + ports - 1}"})
    opened = burst(ground, serve(ground, PORT + 3), 500, close="server").opened
    return Holders(
        connections=_SOCKETS,
        client_close=left["client"],
        server_close=left["server"],
        reset=left["rst"],
        ports=ports,
        server_close_opened=opened,
        evidence=[
            *(
                f"{_SOCKETS} connections, {name}: {left[close][0]} TIME_WAIT sockets on the "
                f"client, {left[close][1]} on the server"
                for close, name in zip(
                    ways, ("client closes first", "server closes first", "client resets"),
                    strict=True,
                )
            ),
            f"server closes first, {ports} ports, tcp_tw_reuse=0: {opened} of 500 connections "
            "opened in a row",
        ],
    )  # fmt: skip


EXPERIMENTS = (
    ClaimExperiment(
        name="time-wait-lifetime", finding=Lifetimes, run=lifetimes, waits=True, limit=_LONGEST + 15
    ),
    ClaimExperiment(name="time-wait-holders", finding=Holders, run=holders),
)
