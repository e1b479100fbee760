"""The article on tcp_tw_reuse."""

from __future__ import annotations

from lab.claims.claim import Claim
from lab.claims.expected import REUSE_DELAY
from lab.claims.findings import ReuseConditions, ReuseModes, ReuseRate, ReuseSettings
from lab.claims.records import Verdict

BOTH, LOOPBACK = "1,1", "2 on loopback"


def default_is_0(found: ReuseSettings) -> Verdict:
    """Decide by a fresh namespace's value."""
    return "confirmed" if found.default == "0" else "refuted"


def is_boolean(found: ReuseSettings) -> Verdict:
    """Decide by the values that the kernel takes."""
    return "confirmed" if found.accepted == [0, 1] else "refuted"


def recycles(found: ReuseModes) -> Verdict:
    """Decide by whether sockets go away without anybody connecting."""
    return "confirmed" if found.idle_after < found.idle_before else "refuted"


def prevents_failures(found: ReuseModes) -> Verdict:
    """Decide by a second round over used ports: all of them with 1, none with 0."""
    works = found.again["1"] >= found.ports and found.recycled["1"] > 0
    return "confirmed" if works and found.again["0"] == 0 else "refuted"


def reuses_only_when_safe(found: ReuseConditions) -> Verdict:
    """Decide by the timestamps: PAWS needs them on both ends."""
    others = [count for name, count in found.timestamps.items() if name != BOTH]
    if not found.timestamps[BOTH]:
        return "refuted"
    return "confirmed" if min(others) == found.timestamps[BOTH] else "conditional"


def helps_everywhere(found: ReuseConditions) -> Verdict:
    """Decide by where it helped: on the connecting side, on the server's, after bind()."""
    helped = [found.timestamps[BOTH], found.only_on_server, found.bound, found.bound_late]
    if not any(helped):
        return "refuted"
    return "confirmed" if all(count >= found.ports for count in helped) else "conditional"


def reuses_at_once(found: ReuseRate) -> Verdict:
    """Decide by the delay: what a tenth of a second cannot explain is a limit of the rate."""
    if found.refused == 0 and found.delay is not None and found.delay < 0.1:
        return "confirmed"
    return "conditional" if found.sustained > 0 else "refuted"


_NEEDS_RATE = (
    "more source addresses, more destinations, a shorter tcp_tw_reuse_delay (6.14 and later), or "
    "connections that are kept"
)

ENTRIES = (
    Claim(
        name="reuse-recycles",
        says="tcp_tw_reuse recycles TIME_WAIT sockets",
        quote="In the kernel, a recycle parameter exists for this very purpose:",
        row=9,
        finding=ReuseModes,
        metric="TIME_WAIT sockets before and one second after tcp_tw_reuse=1, nothing connecting",
        expected="fewer after",
        figure=lambda found: f"{found.idle_before} before, {found.idle_after} after",
        rule=recycles,
        readings={
            "confirmed": "sockets went away by themselves",
            "refuted": "it removes nothing: only a connect() that needs a port takes one over. The "
            "recycling parameter was tcp_tw_recycle, which broke clients behind NAT and was "
            "removed in 4.12",
        },
        paper="refuted",
        sources=("commit 4396e46187ca (tcp_tw_recycle removed)",),
    ),
    Claim(
        name="reuse-default-0",
        says="tcp_tw_reuse is 0 by default",
        quote="Default value is 0.",
        row=11,
        finding=ReuseSettings,
        metric="tcp_tw_reuse in a fresh namespace",
        expected="0",
        figure=lambda found: found.default,
        rule=default_is_0,
        readings={
            "confirmed": "off by default on this kernel",
            "refuted": "2 since about 4.19: on for loopback alone, so a test over 127.0.0.1 hides "
            "the very failure that the real network shows",
        },
        paper="refuted",
        instead="test over a veth pair or a real network, never over loopback",
        sources=("commit 79e9fed46038",),
    ),
    Claim(
        name="reuse-is-boolean",
        says="tcp_tw_reuse is on or off",
        quote="tcp_tw_reuse - BOOLEAN",
        row=11,
        finding=ReuseSettings,
        metric="values that the kernel takes",
        expected="0 and 1",
        figure=lambda found: ", ".join(map(str, found.accepted)),
        rule=is_boolean,
        readings={
            "confirmed": "two values on this kernel",
            "refuted": "0 never, 1 always, 2 on loopback only",
        },
        paper="refuted",
        sources=("Documentation/networking/ip-sysctl.rst, tcp_tw_reuse",),
    ),
    Claim(
        name="reuse-when-safe",
        says="a TIME_WAIT socket is reused when that is safe",
        quote="Allow to reuse TIME-WAIT sockets for new connections when it is safe from protocol "
        "viewpoint.",
        row=6,
        finding=ReuseConditions,
        metric="connections over used ports by tcp_timestamps (client,server)",
        expected="reuse in each case",
        figure=lambda found: ", ".join(
            f"{name}: {count}/{found.ports}" for name, count in found.timestamps.items()
        ),
        rule=reuses_only_when_safe,
        readings={
            "confirmed": "reuse needs no timestamps on this kernel",
            "conditional": "the kernel takes timestamps on both ends as the proof of safety, and "
            "reuses nothing without them",
            "refuted": "nothing was reused even with timestamps on both ends",
        },
        condition="tcp_timestamps on at both ends",
        paper="conditional",
        instead="leave tcp_timestamps at 1 on clients and servers",
        sources=("RFC 7323, 5 (PAWS)", "tcp_twsk_unique in net/ipv4/tcp_ipv4.c"),
    ),
    Claim(
        name="reuse-everywhere",
        says="tcp_tw_reuse=1 helps on every host",
        quote="This kernel parameter should be enabled everywhere.",
        row=12,
        finding=ReuseConditions,
        metric="connections over used ports: set on the client, on the server alone, after bind()",
        expected="all in each case",
        figure=lambda found: (
            f"client {found.timestamps[BOTH]}/{found.ports}, server alone {found.only_on_server}, "
            f"after bind(ip, 0) {found.bound} ({found.bound_error})"
        ),
        rule=helps_everywhere,
        readings={
            "confirmed": "it helped in each case",
            "conditional": "it acts in connect() alone: nothing on servers, and nothing for a "
            "client that binds to its address first, as proxies do, which then fails with "
            "EADDRINUSE",
            "refuted": "it helped nowhere",
        },
        condition="on hosts that connect and close first, without bind() or with "
        "IP_BIND_ADDRESS_NO_PORT",
        paper="conditional",
        instead="set it on clients; a client that binds to a source address should set "
        "IP_BIND_ADDRESS_NO_PORT",
        sources=("ip(7), IP_BIND_ADDRESS_NO_PORT",),
    ),
    Claim(
        name="reuse-prevents-failures",
        says="with tcp_tw_reuse=1 connect() does not run out of ports in TIME_WAIT",
        quote="Allow to reuse TIME-WAIT sockets for new connections",
        row=13,
        finding=ReuseModes,
        metric="connections of a second round over used ports, by value",
        expected="all with 1, none with 0",
        figure=lambda found: ", ".join(
            f"{name}: {count}/{found.ports}" for name, count in found.again.items()
        ),
        rule=prevents_failures,
        readings={
            "confirmed": "1 makes every port usable again after a second; 2, today's default, does "
            "so on loopback alone",
            "refuted": "the second round failed with 1 too, or succeeded without it",
        },
        paper="confirmed",
        instead="tcp_tw_reuse = 1 on the client is the one line that prevents the failure",
    ),
    Claim(
        name="reuse-has-no-limit",
        says="with tcp_tw_reuse=1 the rate is no longer limited by ports",
        quote="It's just a smart reuse of network ressources.",
        row=13,
        finding=ReuseRate,
        metric="connections a second over a small range, and age at which a port was taken again",
        expected="as many as asked for, at once",
        figure=lambda found: (
            f"{found.sustained:.1f}/s of {found.offered:.0f}/s over {found.ports} ports; "
            + ("no port" if found.delay is None else f"a port {found.delay:.2f} s old")
            + " was taken again"
        ),
        rule=reuses_at_once,
        readings={
            "confirmed": "ports came back at once",
            "conditional": "a port rests for the reuse delay first, so the rate is bounded by the "
            "ports divided by that delay",
            "refuted": "nothing was reused",
        },
        condition="below (number of ports) / (reuse delay, 1 s) connections a second to one "
        "address and port",
        paper="conditional",
        changes=(REUSE_DELAY,),
        instead=f"beyond that: {_NEEDS_RATE}",
        sources=("commit ca6a6f93867a (tcp_tw_reuse_delay, Linux 6.14)",),
    ),
)
