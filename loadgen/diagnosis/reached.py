"""Limits that were reached without failing anyone: causes of 0 connections.

They are the most treacherous of all: the run looks clean, and the reason is that the kernel gave
something up for it. A reader who takes such a success for the tuning's doing is misled.
"""

from __future__ import annotations

from dataclasses import replace

from loadgen.diagnosis.causes import SYN_COOKIES_SENT, TIME_WAIT_OVERFLOW
from loadgen.diagnosis.kinds import HOPS
from loadgen.diagnosis.listener import listener_disabled
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.summary import Cause, Evidence

_OVERFLOW = "netstat_TcpExt_TCPTimeWaitOverflow"
_COOKIES = "netstat_TcpExt_TCPReqQFullDoCookies"


def time_wait_overflow(observation: Observation, ledger: Ledger) -> list[Cause]:  # noqa: ARG001 - a rule's signature
    """More connections were closed than tcp_max_tw_buckets allows to wait.

    The kernel then closes a socket without TIME_WAIT, silently: its port is free at once, so ports
    never run out. It also answers a late segment of the old connection as if it belonged to nobody,
    or to the next connection on that port, which is what TIME_WAIT is there to prevent (RFC 9293,
    3.6.1; ip-sysctl.rst on tcp_max_tw_buckets: do not lower it).
    """
    causes = []
    for role, who in ((ROLE_CLIENT, "client"), (ROLE_SERVER, "server")):
        if not observation.change(_OVERFLOW, role):
            continue
        evidence = [
            observation.counter(
                _OVERFLOW, role, f"{{n}} connections of the {who} got no TIME_WAIT socket"
            )
        ]
        most = observation.most("sockstat_TCP_tw", role)
        limit = observation.metric("sockstat_TCP_tw_limit", role)
        if most is not None and limit is not None:
            evidence.append(
                Evidence(
                    metric=most.metric,
                    value=most.value,
                    limit=limit.last,
                    role=role,
                    at=most.at,
                    text=f"{most.value:,} sockets in TIME_WAIT, at most {limit.last:,} allowed",
                )
            )
        place = HOPS[role]
        kind = replace(TIME_WAIT_OVERFLOW, fault=place.fault)
        where = {"where": f" {place.where}"}
        causes.append(kind.explains(0, evidence, first_at=evidence[0].at, words=where))
    return causes


def syn_cookies(observation: Observation, ledger: Ledger) -> list[Cause]:  # noqa: ARG001 - a rule's signature
    """The SYN queue was full, and cookies stood in for it."""
    server = observation.server
    if server is None or not observation.change(_COOKIES, server):
        return []
    # A memcached at its limit sets a backlog of 0, and any queue of that length is full.
    if listener_disabled(observation):
        return []
    evidence = [
        observation.counter(
            _COOKIES, server, "the SYN queue was full {n} times and a cookie was sent instead"
        )
    ]
    if observation.change("netstat_TcpExt_SyncookiesRecv", server):
        evidence.append(
            observation.counter(
                "netstat_TcpExt_SyncookiesRecv", server, "{n} handshakes came back with a cookie"
            )
        )
    return [SYN_COOKIES_SENT.explains(0, evidence, first_at=evidence[0].at)]
