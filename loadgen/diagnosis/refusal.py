"""Attempts that something answered with no: a RST, an ICMP message, an error of the local routing.

A RST that the server's kernel sends is counted there (OutRsts). A firewall's is not, whatever it
looks like to the client: nft and iptables build the packet themselves. So a refusal that the server
does not count was a firewall's, on the host whose books do not balance (`drops.swallowed`).
"""

from __future__ import annotations

import math

from loadgen.diagnosis import drops, handshake, listener, middle
from loadgen.diagnosis.causes import (
    NO_ROUTE,
    NO_ROUTE_BETWEEN,
    SERVER_CONNECTION_LIMIT,
    SERVER_GONE,
    SERVER_REFUSES,
)
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.diagnosis.suspect import Suspect
from loadgen.metrics import SERVER_LIMITS
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_CLIENT, ROLE_HOST, ROLE_SERVER
from loadgen.summary import Cause, Evidence, Number

_TCP = "netstat_Tcp_"
_IP = "netstat_Ip_"
_ICMP = "netstat_Icmp_"
_OVERFLOWS = "netstat_TcpExt_ListenOverflows"
_BEFORE_REFUSALS = 0.5
"""Seconds before the first refused connection in which a dying server may have cut others off."""
_DEADLINES_SEEN = 0.25
"""Seconds after a deadline within which the generator has ended the attempt and a sample tells so."""


def connection_limit(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Connections that the server turned away at its limit, which it counts.

    memcached and Redis write an error and close; where the request is there already, unread, the
    close becomes a RST, and the client may never see the error. nginx closes without a word.
    """
    told = ledger.take([Outcome.TOO_MANY_CONNECTIONS])
    counts = {kept: observation.change(kept.rejected, ROLE_SERVER) for kept in SERVER_LIMITS}
    rejected = sum(counts.values())
    # memcached says it in plain text where TLS is awaited, too.
    ways = [Outcome.RESET, Outcome.TRUNCATED_REPLY, Outcome.NOT_TLS]
    cut = ledger.take(ways, max(0, int(rejected) - told))
    if not told + cut:
        return []
    evidence = []
    if told:
        evidence.append(observation.count_evidence(Outcome.TOO_MANY_CONNECTIONS, told))
    evidence += [
        observation.counter(
            kept.rejected, ROLE_SERVER, f"{kept.program} rejected {{n}} connections"
        )
        for kept, count in counts.items()
        if count
    ]
    evidence.extend(listener.connections_held(observation))
    return [SERVER_CONNECTION_LIMIT.explains(told + cut, evidence)]


def refused(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Handshakes that were answered with RST."""
    count = ledger.open(Outcome.CONNECT_REFUSED)
    if not count:
        return []
    whole = observation.count_evidence(Outcome.CONNECT_REFUSED, count)
    server, change = observation.server, observation.change
    causes: list[Cause] = []
    own = drops.swallowed(observation, ROLE_CLIENT)
    if own >= handshake.COMPLETE * count:
        # All of them met a rule of the client's own, which answered with RST or port unreachable.
        evidence = [drops.swallowed_evidence(observation, ROLE_CLIENT)]
        taken = ledger.take([Outcome.CONNECT_REFUSED])
        return [drops.firewall(ROLE_CLIENT, own, evidence).explains(taken, whole)]
    sent = change(_TCP + "OutRsts", server) if server else count
    genuine = ledger.take([Outcome.CONNECT_REFUSED], int(sent))
    if genuine:
        causes.append(_nobody_listens(observation, ledger, genuine, whole))
    for role, number, evidence in _firewalls(observation):
        taken = ledger.take([Outcome.CONNECT_REFUSED], int(number))
        if taken:
            causes.append(drops.firewall(role, number, evidence).explains(taken, whole))
    rest = ledger.take([Outcome.CONNECT_REFUSED])
    if rest:
        not_sent = Evidence(
            metric=_TCP + "OutRsts",
            value=sent,
            role=server or ROLE_CLIENT,
            text=f"the server's kernel sent {sent:,} RSTs, the client got {count:,}",
        )
        causes.append(drops.firewall(ROLE_HOST, rest, [not_sent]).explains(rest, whole))
    return causes


def _firewalls(observation: Observation) -> list[tuple[str, Number, list[Evidence]]]:
    return [
        (role, count, [drops.swallowed_evidence(observation, role)])
        for role in reversed(observation.places)
        if (count := drops.swallowed(observation, role))
    ]


def _nobody_listens(observation: Observation, ledger: Ledger, count: int, whole: Evidence) -> Cause:
    """Return a server that is not there, or not any more, as the cause."""
    first = whole.at or 0.0
    served = observation.generated("ok", 0.0, first) or observation.generated("ok", first)
    if not served:
        return SERVER_REFUSES.explains(count, [whole], words=observation.unseen)
    since = first - _BEFORE_REFUSALS
    evidence = [whole]
    for outcome in (Outcome.RESET, Outcome.TRUNCATED_REPLY):
        cut = ledger.take([outcome], int(observation.generated(f"outcome_{outcome}", since)))
        if cut:
            evidence.append(observation.count_evidence(outcome, cut))
            count += cut
    gone = _listener_gone(observation)
    if gone is not None:
        evidence.append(gone)
    return SERVER_GONE.explains(count, evidence)


def _listener_gone(observation: Observation) -> Evidence | None:
    """Return as evidence the moment when the server's listener was there no more.

    Listeners are read twice a second, and with them the device counters.
    """
    seen = False
    for item in observation.samples.get(observation.server or "", ()):
        listening = "listen_queue" in item.values
        if seen and not listening and "network_receive_drop_total" in item.values:
            text = "no socket listened on the server's port any more"
            return Evidence(
                metric="listen_queue", value="none", role=item.role, at=item.t, text=text
            )
        seen = seen or listening
    return None


def aborted_by_listener(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Connections reset because the accept queue was full and tcp_abort_on_overflow says so."""
    server = observation.server
    if observation.setting("net.ipv4.tcp_abort_on_overflow", server) != "1":
        return []
    overflows = observation.change(_OVERFLOWS, server)
    count = ledger.take([Outcome.RESET], int(overflows))
    if not count:
        return []
    counted = observation.counter(
        _OVERFLOWS, server, "the listener's accept queue was full {n} times"
    )
    whole = observation.count_evidence(Outcome.RESET, count)
    return [listener.accept_queue(observation, overflows, [counted]).explains(count, whole)]


def no_way_there(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Attempts that met ENETUNREACH or EHOSTUNREACH, or what a route on this host says instead."""
    lacking = middle.no_way(observation, ROLE_CLIENT)
    if lacking:
        # Its own routing table says so; the kernel counts a missing route, but none of the others.
        refused_here = [
            observation.count_evidence(outcome, ledger.outcomes[outcome])
            for outcome in (Outcome.UNREACHABLE, Outcome.DENIED)
            if ledger.outcomes.get(outcome)
        ]
        taken = ledger.take([Outcome.UNREACHABLE, Outcome.DENIED])
        if not taken:
            return []
        # What was under way when the route went can neither ask again nor be answered. The reading
        # that showed the first refusal may show the first of these too.
        gone = min(item.at for item in refused_here if item.at is not None)
        until = gone + observation.config.timeout + _DEADLINES_SEEN
        cut = int(observation.generated("outcome_reply_timeout", math.nextafter(gone, 0.0), until))
        cut = ledger.take([Outcome.REPLY_TIMEOUT], cut)
        if cut:
            refused_here.append(observation.count_evidence(Outcome.REPLY_TIMEOUT, cut))
        return [NO_ROUTE.explains(taken + cut, [*refused_here, *lacking])]
    count = ledger.open(Outcome.UNREACHABLE)
    if not count:
        return []
    whole = observation.count_evidence(Outcome.UNREACHABLE, count)
    change = observation.change
    causes: list[Cause] = []
    unrouted = ledger.take([Outcome.UNREACHABLE], int(change(_IP + "OutNoRoutes")))
    if unrouted:
        counted = observation.counter(
            _IP + "OutNoRoutes", ROLE_CLIENT, "{n} packets found no route on the client"
        )
        causes.append(NO_ROUTE.explains(unrouted, [whole, counted], first_at=whole.at))
    rest = ledger.open(Outcome.UNREACHABLE)
    if rest:
        causes.append(_told_unreachable(observation, rest).explains(rest, whole))
        ledger.take([Outcome.UNREACHABLE])
    return causes


def _told_unreachable(observation: Observation, count: int) -> Suspect:
    """Return who said that the server cannot be reached."""
    change = observation.change
    name = _ICMP + "OutDestUnreachs"
    if change(name):
        failed = change("netstat_TcpExt_TCPRetransFail")
        if failed:
            text = "the client's own host answered {n} of its packets with ICMP unreachable"
            return drops.firewall(
                ROLE_CLIENT, count, [observation.counter(name, ROLE_CLIENT, text)]
            )
        text = "the client's own host reported {n} times that its next hop does not answer"
        return drops.unreachable(count, [observation.counter(name, ROLE_CLIENT, text)])
    for role in reversed(observation.places[1:]):
        if change(name, role):
            evidence = [observation.counter(name, role, "it sent {n} ICMP unreachable messages")]
            lacking = middle.no_way(observation, role) if role in observation.middle else []
            if lacking:
                return Suspect(NO_ROUTE_BETWEEN, count, [*lacking, *evidence])
            if drops.swallowed(observation, role):
                evidence.append(drops.swallowed_evidence(observation, role))
                return drops.firewall(role, count, evidence)
            return drops.unreachable(count, evidence)
    heard = _ICMP + "InDestUnreachs"
    text = "the client received {n} ICMP unreachable messages"
    return drops.unreachable(
        count, [observation.counter(heard, ROLE_CLIENT, text)] if change(heard) else []
    )
