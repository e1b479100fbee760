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
    SYN_QUEUE_FULL,
)
from loadgen.diagnosis.observation import Observation
from loadgen.diagnosis.suspect import Suspect, replace_evidence
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.summary import Evidence, Number

_EXT = "netstat_TcpExt_"
_IP = "netstat_Ip_"


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
                "memcached stopped listening at its connection limit (listen_disabled_num +{n})",
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
    """Return how many connections memcached had, of how many; nothing where it was not asked."""
    held = observation.most("memcached_curr_connections", ROLE_SERVER)
    limit = observation.metric("memcached_max_connections", ROLE_SERVER)
    if held is None or limit is None:
        return []
    text = (
        f"memcached held up to {held.value:,} connections, limit {limit.last:,} (-c); "
        "its own descriptors count against it"
    )
    return [replace_evidence(held, limit.last, text)]


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
            yield Suspect(SERVER_CONNECTION_LIMIT, overflows, [*disabled, counted])
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
