"""Where packets get lost between a connect() and the server's accept(): every counter that tells.

An unanswered SYN is all that the client sees, whatever became of it, and its errno is ETIMEDOUT for
all of them. But whoever drops a packet on a Linux host counts it, in the namespace that drops it:

- a full conntrack table counts `drop`, wherever conntrack is active: on the client's own way out, on
  a bridge or router between, on the server's way in;
- the listener counts ListenOverflows (accept queue), TCPReqQFullDrop (SYN queue), and ListenDrops
  for these and any other reason;
- a firewall rule counts nothing that can be read without knowing the rule. But packets that came in
  (InReceives, counted before any rule) and were neither delivered nor forwarded were dropped or
  rejected by one, and so were packets that it made (OutRequests) or forwarded and did not hand to a
  device (OutTransmits). Besides, a host that drops its *own* packets on the way out sees its
  retransmissions fail (TCPRetransFail), which drops elsewhere never cause;
- a host that cannot resolve its next hop keeps the SYN in the neighbour's queue: its timers fire
  (TCPTimeouts) but there is nothing to send again.

So each place is a suspect with a number of packets. `handshake` and `reply` compare these numbers
with the packets that went unanswered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from loadgen.diagnosis.observation import Observation
from loadgen.sample import ROLE_CLIENT, ROLE_HOST, ROLE_SERVER
from loadgen.summary import Cause, Evidence, Fault, Number

_TCP = "netstat_Tcp_"
_EXT = "netstat_TcpExt_"
_IP = "netstat_Ip_"
_FULL = 0.9
"""Of the limit, from which a conntrack table may have been full between two readings."""

_PLACES: dict[str, tuple[str, Fault, str]] = {
    ROLE_CLIENT: ("client", "client_host", "on the client"),
    ROLE_HOST: ("between", "network", "on the host between client and server"),
    ROLE_SERVER: ("server", "server_host", "on the server's host"),
}


@dataclass(frozen=True, slots=True)
class Suspect:
    """One place where packets were dropped, and how many."""

    cause: str
    fault: Fault
    drops: Number
    title: str
    remedy: str
    evidence: list[Evidence] = field(default_factory=list)
    inferred: bool = False
    """Whether the number is what other counters leave over, and holds a little of everything."""

    def explains(self, connections: int, *more: Evidence) -> Cause:
        """Return the cause that this suspect is, of so many connections."""
        evidence = [*more, *self.evidence]
        moments = [item.at for item in evidence if item.at is not None and item.at >= 0]
        return Cause(
            cause=self.cause,
            fault=self.fault,
            connections=connections,
            first_at=min(moments, default=None),
            evidence=evidence,
            title=self.title,
            remedy=self.remedy,
        )


def suspects(observation: Observation, since: float = 0.0) -> list[Suspect]:
    """Return every place that dropped packets from the moment `since` on."""
    found = [
        *_conntrack(observation, since),
        *_listener(observation, since),
        *_firewalls(observation, since),
        *_machine(observation, since),
        *_neighbour(observation, since),
    ]
    return [suspect for suspect in found if suspect.drops > 0]


# --- connection tracking ----------------------------------------------------------------------


def _conntrack(observation: Observation, since: float) -> Iterator[Suspect]:
    for role in (ROLE_CLIENT, ROLE_HOST, ROLE_SERVER):
        drops = observation.change("nf_conntrack_stat_drop", role, since)
        if not drops:
            continue
        place, fault, where = _PLACES[role]
        most = observation.most("nf_conntrack_entries", role)
        limit = observation.metric("nf_conntrack_entries_limit", role)
        evidence = [
            observation.counter(
                "nf_conntrack_stat_drop", role, f"conntrack {where} dropped {{n}} packets", since
            )
        ]
        full = most is None or limit is None or most.value >= _FULL * limit.last  # type: ignore[operator]
        if most is not None and limit is not None:
            text = f"its table held {most.value:,} of at most {limit.last:,} connections"
            evidence.append(replace_evidence(most, limit.last, text))
        failed = observation.change(_EXT + "TCPRetransFail", ROLE_CLIENT, since)
        if role == ROLE_CLIENT and failed:
            evidence.append(_own_retransmissions(observation, since))
        yield Suspect(
            cause=f"conntrack_full_{place}" if full else f"conntrack_drops_{place}",
            fault=fault,
            drops=drops,
            evidence=evidence,
            title=f"the connection tracking table {where} was full"
            if full
            else f"connection tracking {where} dropped packets though its table was not full",
            remedy=(
                f"{where}: raise net.netfilter.nf_conntrack_max, at 256 to 384 bytes an entry, and "
                "hashsize with it; or lower net.netfilter.nf_conntrack_tcp_timeout_time_wait "
                "(120 s), which forgets closed connections sooner; or exempt this traffic "
                "(notrack), which also takes it out of NAT and stateful rules"
            )
            if full
            else f"{where}: conntrack -S shows what it could not add; a rule that exempts this "
            "traffic (notrack) takes it out of NAT and stateful rules",
        )


def _own_retransmissions(observation: Observation, since: float) -> Evidence:
    return observation.counter(
        _EXT + "TCPRetransFail",
        ROLE_CLIENT,
        "the client's own host dropped {n} of its retransmissions, so the drop is on its way out",
        since,
    )


def replace_evidence(evidence: Evidence, limit: Number | None, text: str) -> Evidence:
    """Return the evidence with its limit and in other words."""
    return Evidence(
        metric=evidence.metric,
        value=evidence.value,
        limit=limit,
        role=evidence.role,
        at=evidence.at,
        text=text,
    )


# --- the listener -----------------------------------------------------------------------------


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


def _listener(observation: Observation, since: float) -> Iterator[Suspect]:
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


# --- firewalls --------------------------------------------------------------------------------


def firewall(role: str, drops: Number, evidence: list[Evidence]) -> Suspect:
    """Return the firewall of a place as a suspect."""
    place, fault, where = _PLACES[role]
    return Suspect(
        cause=f"firewall_{place}",
        fault=fault,
        drops=drops,
        evidence=evidence,
        title=f"a firewall {where} drops or rejects these packets",
        remedy=f"{where}: look for the rule (nft list ruleset, iptables-save -c) and let them pass",
        inferred=True,
    )


def swallowed(observation: Observation, role: str, since: float = 0.0) -> Number:
    """Return the packets that came into a namespace, or were made there, and went nowhere.

    What comes in (InReceives) is delivered (InDelivers) or forwarded (ForwDatagrams); what is made
    (OutRequests) or forwarded is handed to a device (OutTransmits). Kernels before 6.7 do not count
    the last step, so on them only packets that came in can be missed. Those that conntrack,
    rp_filter and a lack of memory took have counters of their own and are not among them.
    """
    if observation.metric(_IP + "InReceives", role) is None:
        return 0

    def moved(name: str) -> Number:
        return observation.change(name, role, since)

    gap = moved(_IP + "InReceives") - moved(_IP + "InDelivers")
    if observation.metric(_IP + "OutTransmits", role) is None:
        gap -= moved(_IP + "ForwDatagrams")
    else:
        gap += moved(_IP + "OutRequests") - moved(_IP + "OutTransmits")
    known = (
        "nf_conntrack_stat_drop",
        _EXT + "IPReversePathFilter",
        _IP + "InDiscards",
        _IP + "OutDiscards",
    )
    return max(0, gap - sum(map(moved, known)))


def swallowed_evidence(observation: Observation, role: str, since: float = 0.0) -> Evidence:
    """Return the same as evidence."""
    count = swallowed(observation, role, since)
    where = _PLACES[role][2]
    return Evidence(
        metric=_IP + "InReceives",
        value=count,
        role=role,
        text=(
            f"{count:,} packets came in or were made {where} and were neither delivered nor sent: "
            "a rule stopped them"
        ),
    )


def _firewalls(observation: Observation, since: float) -> Iterator[Suspect]:
    change = observation.change
    roles = [ROLE_CLIENT, observation.between, observation.server]
    for role in dict.fromkeys(role for role in roles if role is not None):
        count = swallowed(observation, role, since)
        evidence = [swallowed_evidence(observation, role, since)]
        failed = change(_EXT + "TCPRetransFail", role, since) if role == ROLE_CLIENT else 0
        if failed and not change("nf_conntrack_stat_drop", ROLE_CLIENT, since):
            evidence.append(_own_retransmissions(observation, since))
            # Kernels that do not count what leaves: only the drop of a retransmission shows, not
            # that of the first SYN of an attempt.
            first = change(_TCP + "ActiveOpens", ROLE_CLIENT, since)
            count = max(count, failed + min(first, failed))
        if count:
            yield firewall(role, count, evidence)
    for role in dict.fromkeys(role for role in roles if role is not None):
        filtered = change(_EXT + "IPReversePathFilter", role, since)
        place, fault, where = _PLACES[role]
        yield Suspect(
            cause=f"reverse_path_filter_{place}",
            fault=fault,
            drops=filtered,
            evidence=[
                observation.counter(
                    _EXT + "IPReversePathFilter",
                    role,
                    f"rp_filter {where} dropped {{n}} packets",
                    since,
                )
            ],
            title=f"rp_filter {where} takes these packets for forged",
            remedy=(
                f"{where}: mend the routes so that the way back is the way they came, or set "
                "net.ipv4.conf.*.rp_filter = 2, which checks less"
            ),
        )


# --- the rest of the host ---------------------------------------------------------------------


def _machine(observation: Observation, since: float) -> Iterator[Suspect]:
    yield Suspect(
        cause="softnet_backlog_full",
        fault="client_host",
        drops=observation.change("softnet_dropped_total", ROLE_HOST, since),
        evidence=[
            observation.counter(
                "softnet_dropped_total",
                ROLE_HOST,
                "this machine's CPUs dropped {n} packets because their backlog was full",
                since,
            )
        ],
        title="packets came faster than this machine's CPUs took them in",
        remedy=(
            "raise net.core.netdev_max_backlog, which costs memory and latency under load, or "
            "spread packets over more CPUs (RPS)"
        ),
    )


def _neighbour(observation: Observation, since: float) -> Iterator[Suspect]:
    fired = observation.change(_EXT + "TCPTimeouts", ROLE_CLIENT, since)
    sent = observation.change(_TCP + "RetransSegs", ROLE_CLIENT, since)
    if fired > sent:
        yield unreachable(fired - sent, [stuck_evidence(observation, fired - sent)])


def stuck_evidence(observation: Observation, count: Number) -> Evidence:
    """Return retransmission timers that fired while the SYN had not left yet, as evidence."""
    return Evidence(
        metric=_EXT + "TCPTimeouts",
        value=count,
        role=ROLE_CLIENT,
        at=observation.moved_at(_EXT + "TCPTimeouts"),
        text=f"{count:,} times a SYN was due again and had not left the client: its next hop does "
        "not answer",
    )


def unreachable(drops: Number, evidence: list[Evidence]) -> Suspect:
    """Return a dead next hop, or a router that says so, as a suspect."""
    return Suspect(
        cause="unreachable",
        fault="network",
        drops=drops,
        evidence=evidence,
        title="the server, or the next hop on the way to it, cannot be reached",
        remedy=(
            "check that the server's host is up and linked, and the way to it: ip neigh, "
            "ip route get SERVER, ping"
        ),
    )
