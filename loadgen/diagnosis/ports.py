"""Causes on the client's host that have to do with local ports.

A connection is its four-tuple, and toward one destination address and port only the client's port
is free to vary. connect() therefore chooses one from net.ipv4.ip_local_port_range that is not in
use toward that destination; a port in TIME_WAIT is in use, for 60 s, on the side that closed first.
Since 4.2 the choice is made among ports of one parity first; when those are gone, each connect()
walks through all of them in vain before it tries the other half. So there are two walls, the second
of which is the one that has an errno:

- at half the range connect() turns slow, and the rate falls with no error at all;
- at the whole range connect() fails with EADDRNOTAVAIL (and is slow too). No counter of the kernel
  moves then: the errno is the only sign.
"""

from __future__ import annotations

from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR
from loadgen.summary import Cause, Evidence
from loadgen.units import format_duration

PORTS_EXHAUSTED = "ephemeral_ports_exhausted"
PORT_SEARCH_SLOW = "port_search_slow"
BIND_EARLY = "bind_without_no_port"


def _port_use(observation: Observation) -> list[Evidence]:
    """Return how full the port range was."""
    found: list[Evidence] = []
    limit = observation.metric("ephemeral_ports_limit")
    for name, what in (
        ("ephemeral_ports_in_use", "local ports in use toward one destination"),
        ("sockstat_TCP_tw", "sockets in TIME_WAIT on the client"),
    ):
        most = observation.most(name)
        if most is None:
            continue
        room = "" if limit is None else f", of {limit.last:,} in ip_local_port_range"
        found.append(
            Evidence(
                metric=name,
                value=most.value,
                limit=None if limit is None else limit.last,
                role=ROLE_CLIENT,
                at=most.at,
                text=f"{most.value:,} {what}{room}",
            )
        )
    return found


def ports_exhausted(observation: Observation, ledger: Ledger) -> list[Cause]:
    """EADDRNOTAVAIL from connect(): every port of the range is in use toward the destination."""
    count = ledger.take([Outcome.LOCAL_PORT_EXHAUSTED])
    if not count:
        return []
    errno = Evidence(
        metric="errno",
        value="EADDRNOTAVAIL",
        role=ROLE_CLIENT,
        at=observation.first_at(f"outcome_{Outcome.LOCAL_PORT_EXHAUSTED}"),
        text=f"connect() failed {count:,} times with EADDRNOTAVAIL",
    )
    return [
        Cause(
            cause=PORTS_EXHAUSTED,
            fault="client_host",
            connections=count,
            first_at=errno.at,
            evidence=[errno, *_port_use(observation)],
            title="the client ran out of local ports toward the server",
            remedy=(
                "net.ipv4.tcp_tw_reuse = 1 lets connect() take over ports in TIME_WAIT after 1 s "
                "(needs TCP timestamps on both sides); a wider net.ipv4.ip_local_port_range moves "
                "the wall and costs conntrack entries and ports that daemons may want; more source "
                "or server addresses multiply it; keeping connections open removes it"
            ),
        )
    ]


def port_search_slow(observation: Observation, ledger: Ledger) -> list[Cause]:
    """The collapse beyond half the range: connect() spends its time searching, without error."""
    attribution = observation.attribution
    if attribution.slow_since is None or not ledger.port_search_drops:
        return []
    count, ledger.port_search_drops = ledger.port_search_drops, 0
    slow, usual = attribution.slow_connect, attribution.baseline_connect
    inside = Evidence(
        metric="generator_connect_call_seconds",
        value=slow,
        limit=usual,
        role=ROLE_GENERATOR,
        at=attribution.slow_since,
        text=(
            f"one connect() call took {format_duration(slow)} on average, "
            f"{format_duration(usual)} before"
        ),
    )
    return [
        Cause(
            cause=PORT_SEARCH_SLOW,
            fault="client_host",
            connections=count,
            first_at=attribution.slow_since,
            evidence=[inside, *_port_use(observation)],
            title="the kernel's search for a free local port became slow and throttled the client",
            remedy=(
                "net.ipv4.tcp_tw_reuse = 1 or a wider net.ipv4.ip_local_port_range keeps half of "
                "the range free; where the program can be changed, the socket option "
                "IP_LOCAL_PORT_RANGE (Linux 6.3, step 1 since 6.8) searches without the detour; "
                "keeping connections open removes the cause"
            ),
        )
    ]


def bind_early(observation: Observation, ledger: Ledger) -> list[Cause]:
    """EADDRINUSE from bind(address, 0): a port was demanded before the destination was known."""
    count = ledger.take([Outcome.BIND_PORT_EXHAUSTED])
    if not count:
        return []
    errno = Evidence(
        metric="errno",
        value="EADDRINUSE",
        role=ROLE_CLIENT,
        at=observation.first_at(f"outcome_{Outcome.BIND_PORT_EXHAUSTED}"),
        text=f"bind() failed {count:,} times with EADDRINUSE",
    )
    return [
        Cause(
            cause=BIND_EARLY,
            fault="client_host",
            connections=count,
            first_at=errno.at,
            evidence=[errno, *_port_use(observation)],
            title="binding to a source address took a port for every destination at once",
            remedy=(
                "set the socket option IP_BIND_ADDRESS_NO_PORT (Linux 4.2) before bind(address, 0), "
                "so that connect() chooses the port; tcp_tw_reuse does not help before that"
            ),
        )
    ]
