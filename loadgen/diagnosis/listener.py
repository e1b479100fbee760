"""Drops at the server's listener: its two queues, memcached's own limit, and what else counts there.

A SYN waits in the SYN queue until the handshake is over, and the connection then in the accept
queue until the program takes it. Both are bounded by the least of listen()'s backlog and
net.core.somaxconn, and each has a counter of its own; ListenDrops counts these and all other drops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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


CONNECTION_LIMIT = Suspect(
    cause="server_connection_limit",
    fault="server",
    drops=0,
    title="memcached is at its connection limit",
    remedy=(
        "raise memcached -c, which costs file descriptors (LimitNOFILE=) and some kilobytes of "
        "memory for each connection; or let clients keep fewer connections open"
    ),
)


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
            yield replace(CONNECTION_LIMIT, drops=overflows, evidence=[*disabled, counted])
        else:
            yield accept_queue(observation, overflows, [counted])
    refused = observation.change(_EXT + "TCPReqQFullDrop", server, since)
    yield Suspect(
        cause="syn_queue_full",
        fault="server_host",
        drops=refused,
        evidence=[
            observation.counter(
                _EXT + "TCPReqQFullDrop",
                server,
                "the listener dropped {n} SYNs because its SYN queue was full",
                since,
            )
        ],
        title="the server's queue of half-open connections was full, and SYN cookies are off",
        remedy=(
            "net.ipv4.tcp_syncookies = 1 on the server answers without a queue, at the price of "
            "some TCP options in that case; a longer queue takes a larger listen() backlog "
            "(memcached -b), net.core.somaxconn and net.ipv4.tcp_max_syn_backlog"
        ),
    )
    unrouted = observation.change(_IP + "OutNoRoutes", server, since)
    yield Suspect(
        cause="no_way_back",
        fault="server_host",
        drops=unrouted if server != ROLE_CLIENT else 0,
        evidence=[
            observation.counter(
                _IP + "OutNoRoutes",
                server,
                "{n} answers found no route from the server to the client",
                since,
            )
        ],
        title="the server's host has no route back to the client",
        remedy="on the server, `ip route get CLIENT from SERVER` shows the route or rule to mend",
    )
    other = observation.change(_EXT + "ListenDrops", server, since) - overflows - refused - unrouted
    yield Suspect(
        cause="listener_drops",
        fault="server_host",
        drops=max(0, other),
        evidence=[
            observation.counter(
                _EXT + "ListenDrops",
                server,
                "the listener dropped {n} handshakes, more than its queues account for",
                since,
            )
        ],
        title="the server's kernel dropped handshakes at the listener, its queues not being full",
        remedy="look for memory pressure (tcp_mem) and security modules on the server",
    )


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
    cut = "" if somaxconn is None else f" (now {somaxconn})"
    return Suspect(
        cause="accept_queue_overflow",
        fault="server_host",
        drops=overflows,
        evidence=evidence,
        title="the server did not accept() connections as fast as they came: its queue was full",
        remedy=(
            f"a longer queue takes both the listen() backlog (memcached -b) and net.core.somaxconn"
            f"{cut}, and only bridges bursts; a server that is too slow on average needs more "
            "threads (memcached -t) or CPU"
        ),
    )
