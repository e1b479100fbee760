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
from loadgen.diagnosis.honesty import SEARCH_PORTS
from loadgen.diagnosis.kinds import CauseKind
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR
from loadgen.summary import Cause, Evidence
from loadgen.units import format_duration

_IN_USE = "ephemeral_ports_in_use"
_FEW_CALLS = 10
"""Slow calls that may be an accident."""
_THROTTLED = " and throttled the client"
_FELT = ": it costs CPU and time, and has lost nobody yet"


def _before(observation: Observation) -> list[Evidence]:
    """Return as evidence the ports that were scarce before the first arrival, if they were."""
    limit = observation.metric("ephemeral_ports_limit")
    held = observation.standing(_IN_USE)
    if limit is None or held is None or held < SEARCH_PORTS * limit.first:
        return []
    text = (
        f"{held:,} of them were held before the first arrival already: an earlier load's, "
        "in TIME_WAIT for 60 s"
    )
    return [
        Evidence(metric=_IN_USE, value=held, limit=limit.first, role=ROLE_CLIENT, at=0.0, text=text)
    ]


def _port_use(observation: Observation) -> list[Evidence]:
    """Return how full the port range was."""
    found: list[Evidence] = []
    limit = observation.metric("ephemeral_ports_limit")
    for name, what in (
        (_IN_USE, "local ports in use toward one destination"),
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
    return [*found, *_before(observation)]


def ports_exhausted(observation: Observation, ledger: Ledger) -> list[Cause]:
    """EADDRNOTAVAIL from connect(): every port of the range is in use toward the destination."""
    outcome = Outcome.LOCAL_PORT_EXHAUSTED
    return _no_port(observation, ledger, outcome, PORTS_EXHAUSTED, "connect()", "EADDRNOTAVAIL")


def port_search_slow(observation: Observation, ledger: Ledger) -> list[Cause]:
    """The collapse beyond half the range: connect() spends its time searching, without error."""
    attribution = observation.attribution
    if attribution.slow_since is None or not ledger.port_search_drops:
        return []
    count, ledger.port_search_drops = ledger.port_search_drops, 0
    return [_search(observation, count, _THROTTLED)]


def port_search_felt(observation: Observation, ledger: Ledger) -> list[Cause]:  # noqa: ARG001 - a rule's signature
    """connect() searched, and nobody was lost for it: yet, or because nothing was due.

    On a schedule the loop has time left; the closed loop has no schedule to fall behind.
    """
    attribution = observation.attribution
    if attribution.slow_since is None or attribution.port_search:
        return []
    if attribution.slow_calls < _FEW_CALLS and not attribution.throttled:
        return []
    so_what = _THROTTLED if observation.config.closed_loop else _FELT
    return [_search(observation, 0, so_what)]


def _search(observation: Observation, count: int, so_what: str) -> Cause:
    """Return the slow search as a cause, with what it costs."""
    attribution = observation.attribution
    slow, usual = attribution.slow_connect, attribution.baseline_connect
    against = (
        f"{format_duration(usual)} before"
        if attribution.compared
        else f"and takes about {format_duration(usual)} where a port is found at once"
    )
    inside = Evidence(
        metric="generator_connect_call_seconds",
        value=slow,
        limit=usual,
        role=ROLE_GENERATOR,
        at=attribution.slow_since,
        text=f"one connect() call took {format_duration(slow)} on average, {against}",
    )
    cpu = attribution.slow_cpu
    cost = Evidence(
        metric="generator_cpu_system_seconds",
        value=cpu,
        role=ROLE_GENERATOR,
        at=attribution.slow_since,
        text=(
            f"each connection cost {format_duration(cpu)} of CPU in the kernel meanwhile, so one "
            f"core opens no more than {1 / cpu:,.0f} a second; further cores search the same ports"
        ),
    )
    evidence = [inside, *([cost] if cpu else []), *_port_use(observation)]
    words = {"so_what": so_what}
    return PORT_SEARCH_SLOW.explains(count, evidence, first_at=attribution.slow_since, words=words)


def bind_early(observation: Observation, ledger: Ledger) -> list[Cause]:
    """EADDRINUSE from bind(address, 0): a port was demanded before the destination was known."""
    outcome = Outcome.BIND_PORT_EXHAUSTED
    return _no_port(observation, ledger, outcome, BIND_EARLY, "bind()", "EADDRINUSE")


def _no_port(
    observation: Observation,
    ledger: Ledger,
    outcome: Outcome,
    kind: CauseKind,
    call: str,
    errno: str,
) -> list[Cause]:
    """Return the cause of the attempts that got no port."""
    count = ledger.take([outcome])
    if not count:
        return []
    said = Evidence(
        metric="errno",
        value=errno,
        role=ROLE_CLIENT,
        at=observation.first_at(f"outcome_{outcome}"),
        text=f"{call} failed {count:,} times with {errno}",
    )
    return [kind.explains(count, [said, *_port_use(observation)], first_at=said.at)]
