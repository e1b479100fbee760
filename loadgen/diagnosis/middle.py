"""Boxes between client and server: a NAT that has no port left, a proxy that has none, a missing route.

A NAT holds a port toward each destination for every connection it knows of, as a client does. When it
finds none that is free, the packet is dropped, and conntrack counts a drop although its table is not
full (`nf_nat_setup_info` in net/netfilter/nf_nat_core.c leaves a tuple that clashes, and
`nf_conntrack_confirm` refuses it).

A proxy takes the clients' connections and makes its own: it is a client of its backends, with local
ports that run out. Its accepted connections (PassiveOpens) then have no counterpart (ActiveOpens).
The same is seen of one that takes no more: its kernel completes handshakes up to the backlog, and the
program leaves them in the queue, because it is at its own limit of connections or because accept()
finds no file descriptor.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.diagnosis.causes import (
    NAT_PORTS_EXHAUSTED,
    NO_ROUTE_BETWEEN,
    PROXY_DESCRIPTORS,
    PROXY_PORTS_EXHAUSTED,
    PROXY_TAKES_NO_MORE,
)
from loadgen.diagnosis.kinds import HOPS
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.diagnosis.suspect import Suspect, replace_evidence
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_NAT, ROLE_PROXY, ROLE_SERVER
from loadgen.summary import Cause, Evidence, Number

_UNROUTED = "netstat_IpExt_InNoRoutes"
_ROUTES = {
    "routes_missing": "no route to one of the ends",
    "routes_blackhole": "a blackhole route in place of the way",
    "routes_prohibit": "a prohibit route in place of the way",
    "routes_unreachable": "an unreachable route in place of the way",
}
_ALL_BUT = 0.98
"""Of a proxy's ports in use, from which on it may have had none left between two readings."""
_MOST_OF = 0.9
_CUT = (Outcome.TRUNCATED_REPLY, Outcome.RESET, Outcome.REPLY_TIMEOUT)
"""How a client sees a proxy that has no connection to pass it on to."""
_LEFT_WAITING = (Outcome.REPLY_TIMEOUT, Outcome.CONNECT_TIMEOUT)
"""How it sees one that does not take its connection, before and after the queue there is full."""


def no_way(observation: Observation, role: str | None) -> list[Evidence]:
    """Return as evidence what the routing table of a role lacks; nothing where it has all ways."""
    found = []
    for metric, what in _ROUTES.items():
        most = observation.most(metric, role)
        if most is not None and most.value:
            where = HOPS[role or ""].where
            at = observation.moved_at(metric, role)
            text = f"the routing table {where} has {what}"
            found.append(
                Evidence(metric=metric, value=most.value, role=role or "", at=at or 0.0, text=text)
            )
    return found


def unrouted(
    observation: Observation, since: float, dropped: dict[str, Number]
) -> Iterator[Suspect]:
    """Yield the boxes that had no route for packets.

    Args:
        observation: the run.
        since: seconds; what was dropped before is of no interest.
        dropped: by role, packets that vanished there uncounted.
    """
    for role in observation.middle:
        counted = observation.change(_UNROUTED, role, since)
        evidence = no_way(observation, role)
        count = counted + (dropped.get(role, 0) if evidence else 0)
        if count and evidence:
            # Nothing gets through there, whatever the counters' moments of reading.
            again = observation.change("netstat_TcpExt_TCPSynRetrans", since=since)
            count = max(count, again + observation.generated("outcome_connect_timeout"))
        if not count:
            continue
        if counted:
            text = f"{{n}} packets found no route {HOPS[role].where}"
            evidence.append(observation.counter(_UNROUTED, role, text, since))
        yield Suspect(NO_ROUTE_BETWEEN, count, evidence)


def translated(observation: Observation, role: str) -> list[Evidence]:
    """Return as evidence how many ports a NAT holds; nothing where the role is none."""
    most = observation.most("nat_ports_in_use", role)
    if most is None or not (most.value or role == ROLE_NAT):
        return []
    limit = observation.metric("nat_ports_limit", role)
    of = "" if limit is None else f" of {limit.last:,}"
    text = f"the NAT held {most.value:,}{of} ports toward one destination"
    found = [replace_evidence(most, None if limit is None else limit.last, text)]
    timer = "net.netfilter.nf_conntrack_tcp_timeout_time_wait"
    seconds = observation.setting(timer, role)
    if seconds is not None:
        found.append(
            Evidence(
                metric=timer,
                value=seconds,
                role=role,
                text=f"it remembers a closed connection, and holds its port, for {seconds} s",
            )
        )
    return found


def nat_exhausted(observation: Observation, role: str, drops: Number) -> Suspect | None:
    """Return a NAT without free ports as the suspect of a role's conntrack drops; None if it is not."""
    evidence = translated(observation, role)
    if not evidence:
        return None
    limit = observation.metric("nat_ports_limit", role)
    held = evidence[0].value
    assert isinstance(held, int | float)
    # The kernel does not try every port of a range: from some nine tenths on it may miss the rest.
    if limit is not None and held < 0.8 * limit.last:
        return None
    return Suspect(NAT_PORTS_EXHAUSTED, drops, evidence)


def proxy_ports(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Connections that a proxy took and had no local port to pass on from.

    A namespace that is watched as a server, and whose own ports are used up, is a proxy too.
    """
    for role in (ROLE_PROXY, ROLE_SERVER):
        count = ledger.open(*_CUT)
        limit = observation.metric("ephemeral_ports_limit", role)
        most = observation.most("ephemeral_ports_in_use", role)
        if not count or limit is None or most is None or not limit.last:
            continue
        assert isinstance(most.value, int | float)
        taken = observation.change("netstat_Tcp_PassiveOpens", role)
        passed = observation.change("netstat_Tcp_ActiveOpens", role)
        if most.value < _ALL_BUT * limit.last or taken <= passed:
            continue
        share = count if taken - passed >= 0.9 * count else int(taken - passed)
        evidence = [
            observation.count_evidence(outcome, ledger.outcomes[outcome])
            for outcome in _CUT
            if ledger.outcomes.get(outcome)
        ]
        text = f"it held {most.value:,} of its {limit.last:,} local ports toward one backend"
        evidence.append(replace_evidence(most, limit.last, text))
        text = "it took {n} connections"
        evidence.append(observation.counter("netstat_Tcp_PassiveOpens", role, text))
        text = "and made {n} of its own"
        evidence.append(observation.counter("netstat_Tcp_ActiveOpens", role, text))
        waiting = observation.most("sockstat_TCP_tw", role)
        if waiting is not None:
            text = f"{waiting.value:,} sockets in TIME_WAIT there"
            evidence.append(replace_evidence(waiting, None, text))
        return [PROXY_PORTS_EXHAUSTED.explains(ledger.take(_CUT, share), evidence)]
    return []


def proxy_takes_no_more(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Connections that a proxy left in its kernel's queue, or for which it had no descriptor."""
    waiting = observation.most("listen_queue", ROLE_PROXY)
    if waiting is None:
        return []
    full = _files_used_up(observation)
    ways = (*_LEFT_WAITING, *_CUT[:2]) if full else _LEFT_WAITING
    count = ledger.open(*ways)
    taken = observation.change("netstat_Tcp_PassiveOpens", ROLE_PROXY)
    passed = observation.change("netstat_Tcp_ActiveOpens", ROLE_PROXY)
    turned_away = observation.change("netstat_TcpExt_ListenOverflows", ROLE_PROXY)
    assert isinstance(waiting.value, int | float)
    # What waits may still be passed on when nobody is there any more who asked for it. Of those that
    # were never connected the kernel counts each SYN, not each attempt.
    unserved = max(taken - passed, waiting.value)
    unserved += ledger.open(Outcome.CONNECT_TIMEOUT) if turned_away else 0
    if not count or not (waiting.value or full) or unserved < _MOST_OF * count:
        return []
    evidence = [
        observation.count_evidence(outcome, ledger.outcomes[outcome])
        for outcome in ways
        if ledger.outcomes.get(outcome)
    ]
    evidence += full
    text = f"{waiting.value:,} connections waited for the proxy's accept()"
    evidence.append(replace_evidence(waiting, None, text))
    if taken > passed:
        text = "its kernel took {n} connections"
        evidence.append(observation.counter("netstat_Tcp_PassiveOpens", ROLE_PROXY, text))
        text = "and it made {n} of its own"
        evidence.append(observation.counter("netstat_Tcp_ActiveOpens", ROLE_PROXY, text))
    if turned_away:
        text = "{n} handshakes found that queue full"
        evidence.append(observation.counter("netstat_TcpExt_ListenOverflows", ROLE_PROXY, text))
    kind = PROXY_DESCRIPTORS if full else PROXY_TAKES_NO_MORE
    return [kind.explains(ledger.take(ways), evidence)]


def _files_used_up(observation: Observation) -> list[Evidence]:
    """Return as evidence that a proxy's process had all the files open that it may have."""
    used = observation.most("process_open_fds", ROLE_PROXY)
    allowed = observation.metric("process_max_fds", ROLE_PROXY)
    if used is None or allowed is None:
        return []
    assert isinstance(used.value, int | float)
    # A connection takes two: one may be left over when the second is not to be had.
    if used.value < allowed.last - 2:
        return []
    text = f"the proxy had {used.value:,} of {allowed.last:,} files open that it may have"
    return [replace_evidence(used, allowed.last, text)]
