"""Drops at the server's listener: its two queues, memcached's own limit, and what else counts there.

A SYN waits in the SYN queue until the handshake is over, and the connection then in the accept
queue until the program takes it. Both are bounded by the least of listen()'s backlog and
net.core.somaxconn, and each has a counter of its own; ListenDrops counts these and all other drops.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.diagnosis.causes import (
    ACCEPT_QUEUE_OVERFLOW,
    LISTENER_DROPS,
    NO_WAY_BACK,
    SERVER_CONNECTION_LIMIT,
    SERVER_DESCRIPTORS,
    SYN_QUEUE_FULL,
    TIME_WAIT_ANSWERS,
)
from loadgen.diagnosis.kinds import CauseKind
from loadgen.diagnosis.observation import Observation
from loadgen.diagnosis.suspect import Suspect, replace_evidence
from loadgen.metrics import SERVER_LIMITS
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.summary import Evidence, Number

_EXT = "netstat_TcpExt_"
_IP = "netstat_Ip_"
_OWN_DESCRIPTORS = 64
"""Of a memcached, beside its connections, at the most; -c counts them too."""
_NEAR = 0.9
"""Of -c."""


def listener_disabled(observation: Observation) -> list[Evidence]:
    """Return the evidence that memcached stopped listening at its connection limit; none if not.

    In its slow mode (-o no_maxconns_fast) memcached calls listen() with a backlog of 0 when it has
    as many connections as -c allows, and leaves the rest to the kernel's queue.
    """
    evidence = []
    server = observation.server
    if observation.change("memcached_listen_disabled_num", ROLE_SERVER):
        evidence.append(
            observation.counter(
                "memcached_listen_disabled_num",
                ROLE_SERVER,
                "memcached stopped listening, as at a limit of connections (listen_disabled_num +{n})",
            )
        )
    limit = observation.metric("listen_queue_limit", server) if server else None
    if limit is not None and limit.min == 0:
        at = next(
            s.t
            for s in observation.samples[server or ""]
            if s.values.get("listen_queue_limit") == 0
        )
        evidence.append(
            Evidence(
                metric="listen_queue_limit",
                value=0,
                role=server or "",
                at=at,
                text="the server's listener had a backlog of 0: memcached sets that at its limit",
            )
        )
    if evidence:
        evidence.extend(connections_held(observation))
    return evidence


def connections_held(observation: Observation) -> list[Evidence]:
    """Return how many connections the server had, of how many; nothing where it was not asked."""
    evidence = []
    for kept in SERVER_LIMITS:
        held = observation.most(kept.held, ROLE_SERVER)
        limit = observation.metric(kept.limit, ROLE_SERVER)
        if held is not None and limit is not None:
            text = (
                f"{kept.program} held up to {held.value:,} connections, limit {limit.last:,} "
                f"({kept.setting}){kept.besides}"
            )
            evidence.append(replace_evidence(held, limit.last, text))
    return evidence


def kind_of_limit(observation: Observation) -> tuple[CauseKind, list[Evidence]]:
    """Return which limit made the server stop accepting: its descriptors or its connections.

    accept() fails for want of a descriptor (EMFILE) as it does at -c, and memcached stops listening
    for either. Its process tells where it is visible; else that -c was not near.
    """
    used = observation.most("process_open_fds", ROLE_SERVER)
    allowed = observation.metric("process_max_fds", ROLE_SERVER)
    held = observation.most("memcached_curr_connections", ROLE_SERVER)
    limit = observation.metric("memcached_max_connections", ROLE_SERVER)
    near = True
    if held is not None and limit is not None:
        assert isinstance(held.value, int | float)
        near = limit.last - held.value <= _OWN_DESCRIPTORS or held.value >= _NEAR * limit.last
        if near:
            # memcached sets its own limit of open files to what -c needs: both are reached there.
            return SERVER_CONNECTION_LIMIT, []
    if used is not None and allowed is not None:
        assert isinstance(used.value, int | float)
        if used.value >= allowed.last - 1:
            text = f"the server had {used.value:,} of {allowed.last:,} files open that it may have"
            return SERVER_DESCRIPTORS, [replace_evidence(used, allowed.last, text)]
        return SERVER_CONNECTION_LIMIT, []
    return (SERVER_CONNECTION_LIMIT if near else SERVER_DESCRIPTORS), []


def time_wait_answers(observation: Observation, since: float) -> Iterator[Suspect]:
    """Yield the server's TIME_WAIT sockets as the suspect of SYNs that they answered.

    A SYN that reaches a socket in TIME_WAIT begins a new connection there, unless its timestamp is
    older than the last of the old connection (PAWS, RFC 7323, 5.3): then it is answered with the old
    connection's ACK. A client answers that with RST and tries again; behind a NAT that has forgotten
    the old connection, the ACK never reaches it.
    """
    server = observation.server
    refused = observation.change(_EXT + "PAWSTimewait", server, since)
    refused = refused or observation.change(_EXT + "TCPACKSkippedTimeWait", server, since)
    if server is None or not refused:
        return
    evidence = []
    for name, text in (
        ("PAWSTimewait", "{n} SYNs had an older timestamp than the TIME_WAIT socket they met"),
        ("TCPACKSkippedTimeWait", "{n} ACKs to such SYNs were left out by the rate limit"),
    ):
        if observation.change(_EXT + name, server, since):
            evidence.append(observation.counter(_EXT + name, server, text, since))
    waiting = observation.most("sockstat_TCP_tw", server)
    if waiting is not None:
        text = f"the server held {waiting.value:,} sockets in TIME_WAIT"
        evidence.append(replace_evidence(waiting, None, text))
    yield Suspect(TIME_WAIT_ANSWERS, refused, evidence)


def listener(observation: Observation, since: float) -> Iterator[Suspect]:
    """Yield every reason for which the server's listener dropped packets from `since` on."""
    server = observation.server
    if server is None:
        return
    overflows = observation.change(_EXT + "ListenOverflows", server, since)
    if overflows:
        counted = observation.counter(
            _EXT + "ListenOverflows",
            server,
            "the listener dropped {n} handshakes because its accept queue was full",
            since,
        )
        disabled = listener_disabled(observation)
        if disabled:
            kind, more = kind_of_limit(observation)
            yield Suspect(kind, overflows, [*more, *disabled, counted])
        else:
            yield accept_queue(observation, overflows, [counted])
    refused = observation.change(_EXT + "TCPReqQFullDrop", server, since)
    text = "the listener dropped {n} SYNs because its SYN queue was full"
    counted = observation.counter(_EXT + "TCPReqQFullDrop", server, text, since)
    yield Suspect(SYN_QUEUE_FULL, refused, [counted])
    unrouted = observation.change(_IP + "OutNoRoutes", server, since)
    text = "{n} answers found no route from the server to the client"
    counted = observation.counter(_IP + "OutNoRoutes", server, text, since)
    yield Suspect(NO_WAY_BACK, unrouted if server != ROLE_CLIENT else 0, [counted])
    other = observation.change(_EXT + "ListenDrops", server, since) - overflows - refused - unrouted
    text = "the listener dropped {n} handshakes, more than its queues account for"
    counted = observation.counter(_EXT + "ListenDrops", server, text, since)
    yield Suspect(LISTENER_DROPS, max(0, other), [counted])


def accept_queue(observation: Observation, overflows: Number, evidence: list[Evidence]) -> Suspect:
    """Return the accept queue as a suspect."""
    server = observation.server
    waiting = observation.most("listen_queue", server)
    limit = observation.metric("listen_queue_limit", server) if server else None
    evidence = list(evidence)
    if waiting is not None and limit is not None:
        text = f"{waiting.value:,} connections waited for accept(), the queue takes {limit.last:,}"
        evidence.append(replace_evidence(waiting, limit.last, text))
    somaxconn = observation.setting("net.core.somaxconn", server)
    now = {} if somaxconn is None else {"now": f" (now {somaxconn})"}
    return Suspect(ACCEPT_QUEUE_OVERFLOW, overflows, evidence, words=now)
