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
from dataclasses import replace

from loadgen.diagnosis.causes import (
    CONNTRACK_DROPS,
    CONNTRACK_FULL,
    FIREWALL,
    REVERSE_PATH_FILTER,
    SOFTNET_BACKLOG_FULL,
    UNREACHABLE,
)
from loadgen.diagnosis.kinds import HOPS
from loadgen.diagnosis.listener import listener, time_wait_answers
from loadgen.diagnosis.middle import nat_exhausted, no_way, unrouted
from loadgen.diagnosis.observation import Observation
from loadgen.diagnosis.suspect import Suspect, replace_evidence
from loadgen.sample import ROLE_CLIENT, ROLE_HOST
from loadgen.summary import Evidence, Number

_TCP = "netstat_Tcp_"
_EXT = "netstat_TcpExt_"
_IP = "netstat_Ip_"
_FULL = 0.9
"""Of the limit, from which a conntrack table may have been full between two readings."""


def suspects(observation: Observation, since: float = 0.0) -> list[Suspect]:
    """Return every place that dropped packets from the moment `since` on."""
    found = [
        *_conntrack(observation, since),
        *listener(observation, since),
        *time_wait_answers(observation, since),
        *_firewalls(observation, since),
        *_machine(observation, since),
        *_neighbour(observation, since),
    ]
    return [suspect for suspect in found if suspect.drops > 0]


# --- connection tracking ----------------------------------------------------------------------


def _conntrack(observation: Observation, since: float) -> Iterator[Suspect]:
    for role in HOPS:
        drops = observation.change("nf_conntrack_stat_drop", role, since)
        if not drops:
            continue
        where = HOPS[role].where
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
        exhausted = None if full else nat_exhausted(observation, role, drops)
        if exhausted is not None:
            yield replace(exhausted, evidence=[*exhausted.evidence, *evidence])
            continue
        family = CONNTRACK_FULL if full else CONNTRACK_DROPS
        yield Suspect(family.at(role), drops, evidence)


def _own_retransmissions(observation: Observation, since: float) -> Evidence:
    return observation.counter(
        _EXT + "TCPRetransFail",
        ROLE_CLIENT,
        "the client's own host dropped {n} of its retransmissions, so the drop is on its way out",
        since,
    )


# --- firewalls --------------------------------------------------------------------------------


def firewall(role: str, drops: Number, evidence: list[Evidence]) -> Suspect:
    """Return the firewall of a place as a suspect."""
    return Suspect(FIREWALL.at(role), drops, evidence, inferred=True)


def swallowed(observation: Observation, role: str, since: float = 0.0) -> Number:
    """Return the packets that came into a namespace, or were made there, and went nowhere.

    What comes in (InReceives) is delivered (InDelivers) or forwarded (ForwDatagrams); what is made
    (OutRequests) or forwarded is handed to a device (OutTransmits). Kernels before 6.7 do not count
    the last step, so on them only packets that came in can be missed. Those that have a counter of
    their own (conntrack, rp_filter, a missing route, a damaged header, a lack of memory) are not
    among them.
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
        _IP + "InHdrErrors",
        _IP + "InAddrErrors",
        "netstat_IpExt_InNoRoutes",
        _IP + "OutDiscards",
    )
    return max(0, gap - sum(map(moved, known)))


def swallowed_evidence(observation: Observation, role: str, since: float = 0.0) -> Evidence:
    """Return the same as evidence."""
    count = swallowed(observation, role, since)
    where = HOPS[role].where
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
    dropped = {role: swallowed(observation, role, since) for role in observation.places}
    yield from unrouted(observation, since, dropped)
    for role, packets in dropped.items():
        if role in observation.middle and no_way(observation, role):
            continue
        count = packets
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
    for role in dropped:
        filtered = change(_EXT + "IPReversePathFilter", role, since)
        text = f"rp_filter {HOPS[role].where} dropped {{n}} packets"
        counted = observation.counter(_EXT + "IPReversePathFilter", role, text, since)
        yield Suspect(REVERSE_PATH_FILTER.at(role), filtered, [counted])


# --- the rest of the host ---------------------------------------------------------------------


def _machine(observation: Observation, since: float) -> Iterator[Suspect]:
    metric = "softnet_dropped_total"
    text = "this machine's CPUs dropped {n} packets because their backlog was full"
    yield Suspect(
        SOFTNET_BACKLOG_FULL,
        observation.change(metric, ROLE_HOST, since),
        [observation.counter(metric, ROLE_HOST, text, since)],
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
    return Suspect(UNREACHABLE, drops, evidence)
