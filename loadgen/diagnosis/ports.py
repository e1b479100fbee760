"""Causes on the client's host that have to do with local ports.

A connection is its four-tuple, and toward one destination address and port only the client's port
is free to vary. connect() therefore chooses one from net.ipv4.ip_local_port_range that is not in
use toward that destination; a port in TIME_WAIT is in use, for 60 s, on the side that closed first.
Since 4.2 the choice is made among ports of one parity first; when those are gone, each connect()
walks past all of them before it tries the other half. So there are two walls, the second
of which is the one that has an errno:

- at half the range connect() turns slow, and the rate falls with no error at all;
- at the whole range connect() fails with EADDRNOTAVAIL (and is slow too). No counter of the kernel
  moves then: the errno is the only sign.
"""

from __future__ import annotations

from loadgen.diagnosis.causes import BIND_EARLY, PORT_SEARCH_SLOW, PORTS_EXHAUSTED
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR
from loadgen.summary import Cause, Evidence
from loadgen.units import format_duration


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
    evidence = [errno, *_port_use(observation)]
    return [PORTS_EXHAUSTED.explains(count, evidence, first_at=errno.at)]


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
    evidence = [inside, *_port_use(observation)]
    return [PORT_SEARCH_SLOW.explains(count, evidence, first_at=attribution.slow_since)]


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
    evidence = [errno, *_port_use(observation)]
    return [BIND_EARLY.explains(count, evidence, first_at=errno.at)]
