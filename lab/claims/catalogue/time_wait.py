"""The article on TIME_WAIT."""

from __future__ import annotations

from lab.claims.claim import BeyondTest, Claim
from lab.claims.findings import Holders, Lifetimes, StraySegments
from lab.claims.records import Verdict

LENGTH = 60.0
"""Seconds: TCP_TIMEWAIT_LEN."""
LONGEST = LENGTH * 1.125
"""A timer may be late by an eighth of its time (commit 500462a9de65, Linux 4.8)."""
SLACK = 0.5
"""Seconds between closing and the first look, or between two looks on a busy machine."""


def lasts_a_minute(found: Lifetimes) -> Verdict:
    """Decide by the age at which each group was gone."""
    slack = max(SLACK, found.resolution)
    near = all(LENGTH - slack <= age <= LONGEST + slack for age in found.time_wait)
    return "confirmed" if near else "refuted"


def follows_fin_timeout(found: Lifetimes) -> Verdict:
    """Decide by whether TIME_WAIT ended nearer to tcp_fin_timeout than to a minute."""
    middle = (found.fin_timeout + LENGTH) / 2
    return "confirmed" if min(found.time_wait) < middle else "refuted"


def any_side_waits(found: Holders) -> Verdict:
    """Decide by where the sockets are: on both sides always, or only on the first to close."""
    everywhere = all(
        min(pair) >= found.connections for pair in (found.client_close, found.server_close)
    )
    first_only = found.client_close == (found.connections, 0) and found.server_close == (
        0,
        found.connections,
    )
    if everywhere and min(found.reset) >= found.connections:
        return "confirmed"
    return "conditional" if first_only else "refuted"


def answers_with_rst(found: StraySegments) -> Verdict:
    """Decide by what a socket in TIME_WAIT answers."""
    return "confirmed" if "RST" in found.to_fin else "refuted"


_ENTERS = "In the default kernel configuration, the connection will stay in TIME_WAIT state for 60 seconds."

ENTRIES = (
    Claim(
        name="time-wait-60s",
        says="a closed connection is in TIME_WAIT for 60 s",
        quote=_ENTERS,
        row=4,
        finding=Lifetimes,
        metric="age at which TIME_WAIT sockets were gone",
        expected="60 s",
        figure=lambda found: f"{min(found.time_wait):.1f} to {max(found.time_wait):.1f} s",
        rule=lasts_a_minute,
        readings={
            "confirmed": "60 s by a constant of the kernel, which no sysctl changes, rounded up to "
            "the next step of the timer wheel: up to 2.05 s more where CONFIG_HZ is 250",
            "refuted": "this kernel keeps TIME_WAIT for another time",
        },
        paper="confirmed",
        sources=("TCP_TIMEWAIT_LEN in include/net/tcp.h", "commit 500462a9de65 (Linux 4.8)"),
    ),
    Claim(
        name="closer-holds-time-wait",
        says="both ends of a connection have it in TIME_WAIT",
        quote=_ENTERS,
        row=4,
        finding=Holders,
        metric="TIME_WAIT sockets on (client, server) by who closes first",
        expected="on both",
        figure=lambda found: (
            f"client first {found.client_close}, server first {found.server_close}, "
            f"RST {found.reset}"
        ),
        rule=any_side_waits,
        readings={
            "confirmed": "both ends wait, however the connection ended",
            "conditional": "only the side that sends the first FIN waits, and after a RST nobody "
            "does; when the server closes first the client's ports are free at once",
            "refuted": "the sockets were on neither side as expected",
        },
        condition="on the side that closes first, with FIN",
        paper="conditional",
        instead="where the protocol allows it (memcached: quit), let the server close first: no "
        "port of the client is then in TIME_WAIT",
        sources=("RFC 9293, 3.6",),
    ),
    Claim(
        name="time-wait-for-rst",
        says="TIME_WAIT is there so that the kernel can answer a lost packet with RST",
        quote="In case a packet got lost and the kernel needs to send a RST for it.",
        row=5,
        finding=StraySegments,
        metric="answer of a TIME_WAIT socket to the peer's FIN, sent again",
        expected="RST",
        figure=lambda found: f"{found.to_fin} (to old data: {found.to_data})",
        rule=answers_with_rst,
        readings={
            "confirmed": "it answers with RST",
            "refuted": "it acknowledges the FIN once more, so that the peer can finish, and keeps "
            "old segments from a new connection; sending a RST needs no socket at all",
        },
        paper="refuted",
        sources=("RFC 9293, 3.6.1", "tcp_timewait_state_process in net/ipv4/tcp_minisocks.c"),
    ),
    BeyondTest(
        name="lan-loses-nothing",
        says="on a fast LAN no packet is late by up to 60 s, so TIME_WAIT may be cut short",
        quote="it's just impossible that a packet would get lost in routers for 60 seconds.",
        row=6,
        reason="what networks never do cannot be shown on a lab's own; tcp_tw_reuse does not rely "
        "on it either, but on timestamps (see reuse-when-safe)",
        sources=("RFC 7323, 5 (PAWS)",),
    ),
    Claim(
        name="fin-timeout-shortens-time-wait",
        says="tcp_fin_timeout shortens TIME_WAIT",
        quote="",
        row=27,
        finding=Lifetimes,
        metric="age at which TIME_WAIT sockets were gone, with tcp_fin_timeout=5",
        expected="5 s",
        figure=lambda found: (
            f"TIME_WAIT {min(found.time_wait):.1f} s, FIN-WAIT-2 {found.fin_wait_2:.1f} s"
        ),
        rule=follows_fin_timeout,
        readings={
            "confirmed": "TIME_WAIT ends with tcp_fin_timeout on this kernel",
            "refuted": "it ends FIN-WAIT-2, where the peer's FIN is missing, and nothing else: no "
            "port comes back sooner",
        },
        paper="refuted",
        instead="leave tcp_fin_timeout as it is",
        sources=("Documentation/networking/ip-sysctl.rst, tcp_fin_timeout",),
    ),
)
