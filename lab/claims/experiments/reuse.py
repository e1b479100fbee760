"""tcp_tw_reuse: its values, its conditions, its delay.

connect() may take a port whose last connection to the same destination is in TIME_WAIT, if both
ends used timestamps and the socket is older than a delay (tcp_twsk_unique, net/ipv4/tcp_ipv4.c).
The proof that a port was taken that way is TWRecycled. In each experiment the cases differ by
destination port, so that each has the whole small range to itself and all can wait together.
"""

from __future__ import annotations

import time
from typing import Final

from lab.claims.connections import PORT, bind_early, bind_late, burst, serve
from lab.claims.experiments.base import ClaimExperiment
from lab.claims.experiments.ports import LOW, RANGE, REUSE
from lab.claims.experiments.time_wait import TIME_WAIT
from lab.claims.findings import ReuseConditions, ReuseModes, ReuseRate, ReuseSettings
from lab.testbed.ground import Ground, sleep
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER

RECYCLED: Final = "netstat_TcpExt_TWRecycled"
STAMPS: Final = "net.ipv4.tcp_timestamps"
DELAY: Final = "net.ipv4.tcp_tw_reuse_delay"
_PORTS: Final = 100
_TRIES: Final = 2_000
_WAIT: Final = 2.2
"""Seconds between the rounds. Before 6.14 the delay was measured in whole seconds, up to 2."""


def settings(ground: Ground) -> ReuseSettings:
    """Read the default and try which values the kernel takes."""
    default = ground.get(ROLE_CLIENT, REUSE) or ""
    stamps = ground.get(ROLE_CLIENT, STAMPS) or ""
    recycle = ground.get(ROLE_CLIENT, "net.ipv4.tcp_tw_recycle") is not None
    accepted = [value for value in range(-1, 5) if ground.accepts(ROLE_CLIENT, REUSE, value)]
    return ReuseSettings(
        default=default,
        accepted=accepted,
        timestamps=stamps,
        recycle_exists=recycle,
        evidence=[
            f"a fresh namespace has {REUSE} = {default} and {STAMPS} = {stamps}",
            f"of the values -1 to 4 the kernel took {', '.join(map(str, accepted))}",
            f"net.ipv4.tcp_tw_recycle {'exists' if recycle else 'does not exist'}",
        ],
    )


def modes(ground: Ground) -> ReuseModes:
    """Use the range up toward one destination a value, wait, and try again under each value."""
    values = ("0", "1", "2")
    services = {value: serve(ground, PORT + int(value)) for value in values}
    services["2 on loopback"] = serve(ground, PORT + 3, role=ROLE_CLIENT, address="127.0.0.1")
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + _PORTS - 1}", REUSE: 0})
    for service in services.values():
        burst(ground, service, _PORTS)
    watch = ground.watch(ROLE_CLIENT)
    sleep(_WAIT)
    idle_before = watch.value(TIME_WAIT)
    ground.set(ROLE_CLIENT, {REUSE: 1})
    sleep(1.0)
    idle_after = watch.value(TIME_WAIT)
    again: dict[str, int] = {}
    recycled: dict[str, int] = {}
    for name, service in services.items():
        ground.set(ROLE_CLIENT, {REUSE: name[0]})
        watch.reset()
        again[name] = burst(ground, service, _PORTS).opened
        recycled[name] = watch.moved(RECYCLED)
    return ReuseModes(
        ports=_PORTS,
        waited=_WAIT + 1.0,
        again=again,
        recycled=recycled,
        idle_before=idle_before,
        idle_after=idle_after,
        evidence=[
            f"{_PORTS} ports used up toward each of {len(services)} destinations, "
            f"{_WAIT + 1:.1f} s later:",
            *(
                f"tcp_tw_reuse={name}: {again[name]} more connections, TWRecycled +{recycled[name]}"
                for name in services
            ),
            f"one second with tcp_tw_reuse=1 and no connect: {idle_before} TIME_WAIT sockets "
            f"before, {idle_after} after",
        ],
    )


def conditions(ground: Ground) -> ReuseConditions:
    """Try what reuse depends on, each condition toward a destination of its own."""
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + _PORTS - 1}", REUSE: 0})
    stamps = {}
    for number, (client, server) in enumerate(((1, 1), (0, 1), (1, 0), (0, 0))):
        ground.set(ROLE_CLIENT, {STAMPS: client})
        ground.set(ROLE_SERVER, {STAMPS: server})
        stamps[f"{client},{server}"] = serve(ground, PORT + number)
        burst(ground, stamps[f"{client},{server}"], _PORTS)
    ground.set(ROLE_CLIENT, {STAMPS: 1})
    ground.set(ROLE_SERVER, {STAMPS: 1, REUSE: 1})
    lone, late, early = (serve(ground, PORT + number) for number in (4, 5, 6))
    for service in (lone, late, early):
        burst(ground, service, _PORTS)
    sleep(_WAIT)
    only_on_server = burst(ground, lone, _PORTS).opened
    ground.set(ROLE_CLIENT, {REUSE: 1})
    by_stamps = {}
    for name, service in stamps.items():
        # A new connection's own timestamps are as its case has them.
        ground.set(ROLE_CLIENT, {STAMPS: name[0]})
        ground.set(ROLE_SERVER, {STAMPS: name[2]})
        by_stamps[name] = burst(ground, service, _PORTS).opened
    ground.set(ROLE_CLIENT, {STAMPS: 1})
    ground.set(ROLE_SERVER, {STAMPS: 1})
    bound = burst(ground, early, _PORTS, prepare=bind_early(ground.source))
    bound_late = burst(ground, late, _PORTS, prepare=bind_late(ground.source))
    error = ", ".join(bound.errors) or "none"
    return ReuseConditions(
        ports=_PORTS,
        timestamps=by_stamps,
        only_on_server=only_on_server,
        bound=bound.opened,
        bound_error=error,
        bound_late=bound_late.opened,
        evidence=[
            f"{_PORTS} ports used up, {_WAIT:g} s later, tcp_tw_reuse=1 on the client:",
            *(
                f"tcp_timestamps (client,server) {name}: {count} of {_PORTS} more connections"
                for name, count in by_stamps.items()
            ),
            f"set on the server alone: {only_on_server} of {_PORTS}",
            f"after bind(address, 0): {bound.opened} of {_PORTS}, the rest {error}; with "
            f"IP_BIND_ADDRESS_NO_PORT: {bound_late.opened}",
        ],
    )


def _first_reuse(ground: Ground, port: int) -> float | None:
    """Use a range up, then try until connect() finds a port; return the age of the one it took.

    None when no port was taken in the time of `_TRIES` connects, some 5 s.
    """
    service = serve(ground, port)
    closed: dict[int, float] = {}
    for _ in range(2):
        for taken in burst(ground, service, 1).ports:
            closed[taken] = time.monotonic()
    again = burst(ground, service, _TRIES, pause=0.002, until=lambda done: done.opened > 0)
    return time.monotonic() - closed[again.ports[0]] if again.ports else None


def rate(ground: Ground) -> ReuseRate:
    """Measure how old a port must be, with the kernel's own delay and with a shorter one."""
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + 1}", REUSE: 1})
    setting = ground.get(ROLE_CLIENT, DELAY)
    delay = _first_reuse(ground, PORT)
    short, short_delay = None, None
    if setting is not None:
        short = 200
        ground.set(ROLE_CLIENT, {DELAY: short})
        short_delay = _first_reuse(ground, PORT + 1)
        ground.set(ROLE_CLIENT, {DELAY: setting})
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + _PORTS - 1}"})
    service = serve(ground, PORT + 2)
    pause, seconds = 1 / 400, 3.0
    started = time.monotonic()
    first = burst(
        ground, service, 2_000, pause=pause, until=lambda _: time.monotonic() - started >= 1.0
    )
    settled = time.monotonic()
    rest = burst(
        ground, service, 4_000, pause=pause, until=lambda _: time.monotonic() - settled >= seconds
    )
    took = time.monotonic() - settled
    tried = rest.opened + sum(rest.errors.values())
    age = f"{delay:.2f} s old" if delay is not None else "never"
    told = f"with {DELAY} = {setting}" if setting else f"(this kernel has no {DELAY})"
    evidence = [f"a port in TIME_WAIT was first taken again {age} {told}"]
    if short_delay is not None:
        evidence.append(f"with {DELAY} = {short}: {short_delay:.2f} s old")
    evidence.append(
        f"{_PORTS} ports, {tried / took:.0f} connects a second: {first.opened} opened in the first "
        f"second, then {rest.opened / took:.1f} a second for {took:.1f} s and "
        f"{rest.errors.get('EADDRNOTAVAIL', 0)} EADDRNOTAVAIL"
    )
    return ReuseRate(
        delay=delay,
        delay_setting=int(setting) if setting is not None else None,
        short_setting=short,
        short_delay=short_delay,
        ports=_PORTS,
        offered=tried / took,
        sustained=rest.opened / took,
        refused=rest.errors.get("EADDRNOTAVAIL", 0),
        evidence=evidence,
    )


EXPERIMENTS = (
    ClaimExperiment(name="reuse-settings", finding=ReuseSettings, run=settings),
    ClaimExperiment(name="reuse-modes", finding=ReuseModes, run=modes, waits=True),
    ClaimExperiment(name="reuse-conditions", finding=ReuseConditions, run=conditions, waits=True),
    ClaimExperiment(name="reuse-rate", finding=ReuseRate, run=rate),
)
