"""Handshakes that nobody answered: ETIMEDOUT, and which of the places that drop packets it was.

The arithmetic. Every SYN that a client sent again, and the last SYN of every attempt that timed out,
is one packet that went unanswered. Every suspect (`drops`) has counted the packets it dropped. When
the suspects' drops add up to what went unanswered, all is explained, and each explains its share;
when they fall short, the rest was lost where nobody counts, and is reported as such.
"""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.diagnosis import drops
from loadgen.diagnosis.causes import (
    ACCEPT_QUEUE_OVERFLOW,
    BEYOND_CLIENT,
    PACKET_LOSS,
    SERVER_SILENT,
)
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.diagnosis.suspect import Suspect
from loadgen.metrics import SERVER_LIMITS
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.summary import Cause, Evidence, Number

COMPLETE = 0.9
"""The part of what went unanswered that suspects must account for to explain all of it.

Counters of two namespaces are read a moment apart, and an attempt's last SYN may still be on its way
when the attempt is given up."""
NOISE = 0.1
"""The part of what went unanswered below which an inferred number of drops is taken for the stray
packets that every host discards."""
_SYN_RETRANSMITTED = "netstat_TcpExt_TCPSynRetrans"
_FIRST_RETRANSMISSION = 1.0
"""Seconds after which Linux sends a SYN again the first time (RFC 6298, 2.1)."""


def shares(count: int, unanswered: Number, numbers: Sequence[Number]) -> list[int]:
    """Return how many of `count` connections each number of drops explains: whole, at most all."""
    total = sum(numbers)
    if not total:
        return [0] * len(numbers)
    whole = total if total >= COMPLETE * unanswered else unanswered
    explained = round(count * total / whole)
    # Largest remainders, so that the parts add up to the whole.
    exact = [explained * number / total for number in numbers]
    parts = [int(part) for part in exact]
    order = sorted(range(len(exact)), key=lambda i: exact[i] - parts[i], reverse=True)
    for place in order[: explained - sum(parts)]:
        parts[place] += 1
    return parts


def began(observation: Observation, outcome: Outcome, limit: float) -> float:
    """Return the moment before which no attempt of a failed outcome can have begun."""
    first = observation.first_at(f"outcome_{outcome}")
    interval = observation.config.sample_interval
    return 0.0 if first is None else max(0.0, first - limit - 2 * interval)


def lost_handshakes(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Return the causes of handshakes that timed out."""
    count = ledger.open(Outcome.CONNECT_TIMEOUT)
    if not count:
        return []
    config = observation.config
    limit = min(config.timeout, config.connect_timeout)
    since = began(observation, Outcome.CONNECT_TIMEOUT, limit)
    retransmitted = observation.change(_SYN_RETRANSMITTED, ROLE_CLIENT, since)
    found = [
        _stopped_server(observation, suspect)
        for suspect in drops.suspects(observation, since)
        if not suspect.inferred or suspect.drops >= NOISE * (retransmitted + count)
    ]
    causes = []
    whole = observation.count_evidence(Outcome.CONNECT_TIMEOUT, count)
    parts = shares(count, retransmitted + count, [suspect.drops for suspect in found])
    for suspect, share in zip(found, parts, strict=True):
        taken = ledger.take([Outcome.CONNECT_TIMEOUT], share)
        if taken:
            causes.append(suspect.explains(taken, whole))
    rest = _lost_on_the_way(observation, ledger, retransmitted, limit, found)
    if rest is not None:
        causes.append(rest)
    ledger.hanging.extend(causes)
    return causes


def _stopped_server(observation: Observation, suspect: Suspect) -> Suspect:
    """Return a silent server as the suspect where the queue is only full because of that."""
    if suspect.kind is not ACCEPT_QUEUE_OVERFLOW:
        return suspect
    outcomes = (Outcome.REPLY_TIMEOUT, Outcome.CONNECT_TIMEOUT)
    timed_out = [sum(n for _, n in observation.increments(outcome)) for outcome in outcomes]
    silent = [observation.silent(outcome) for outcome in outcomes]
    # Some got in and none of them was answered: the server does not serve, the queue shows it.
    if not timed_out[0] or sum(silent) < COMPLETE * sum(timed_out):
        return suspect
    return silence(observation, suspect.drops, suspect.evidence)


def silence(observation: Observation, count: Number, evidence: list[Evidence]) -> Suspect:
    """Return a server that answers nobody as a suspect."""
    return Suspect(SERVER_SILENT, count, [*evidence, *asked_in_vain(observation)])


def asked_in_vain(observation: Observation) -> list[Evidence]:
    """Return as evidence that the servers stopped answering the sampler too."""
    prefix = next(
        (
            kept.prefix
            for kept in SERVER_LIMITS
            if observation.metric(f"{kept.prefix}_up", ROLE_SERVER) is not None
        ),
        None,
    )
    if prefix is None:
        return []
    before = False
    for item in observation.samples.get(ROLE_SERVER, ()):
        up, targets = item.values.get(f"{prefix}_up"), item.values.get(f"{prefix}_targets")
        if up is None or targets is None:
            continue
        if before and up < targets:
            return [
                Evidence(
                    metric=f"{prefix}_up",
                    value=up,
                    limit=targets,
                    role=item.role,
                    at=item.t,
                    text=f"{up:,} of {targets:,} servers answered the sampler",
                )
            ]
        before = before or up == targets
    return []


def _lost_on_the_way(
    observation: Observation,
    ledger: Ledger,
    retransmitted: Number,
    limit: float,
    found: Sequence[Suspect],
) -> Cause | None:
    """Return packet loss as the cause of what no counter on either host accounts for.

    Only where both ends were watched, and a retransmission had the chance to fail: the first drop
    of a SYN on its way out of the client is not counted anywhere.
    """
    count = ledger.open(Outcome.CONNECT_TIMEOUT)
    if not count:
        return None
    if found:
        ledger.ruled_out.append("all that these counters account for: " + _names(found))
    else:
        ledger.ruled_out.append(
            "conntrack, firewalls and queues: no counter of the namespaces watched moved"
        )
    if observation.server is None and not observation.middle:
        return _beyond(observation, ledger, retransmitted)
    if observation.server is None:
        ledger.ruled_out.append("the server's side was not watched: give its namespace (--netns)")
        return None
    if not retransmitted:
        if limit <= _FIRST_RETRANSMISSION:
            ledger.ruled_out.append(
                "the timeout ended each attempt before its SYN was sent again, which would show "
                "whether this host drops it: raise --timeout above 1s"
            )
        return None
    ledger.take([Outcome.CONNECT_TIMEOUT], count)
    evidence = [
        observation.count_evidence(Outcome.CONNECT_TIMEOUT, count),
        observation.counter(_SYN_RETRANSMITTED, ROLE_CLIENT, "{n} SYNs had to be sent again"),
    ]
    return packet_loss(observation, count, evidence)


def _beyond(observation: Observation, ledger: Ledger, retransmitted: Number) -> Cause | None:
    """Return what is known where only the client was watched: that its own host is not to blame."""
    if drops.swallowed(observation, ROLE_CLIENT) or not retransmitted:
        return None
    count = ledger.take([Outcome.CONNECT_TIMEOUT])
    evidence = [
        observation.count_evidence(Outcome.CONNECT_TIMEOUT, count),
        observation.counter(
            _SYN_RETRANSMITTED, ROLE_CLIENT, "{n} SYNs were sent again, and left this host"
        ),
        observation.counter(
            "netstat_TcpExt_TCPRetransFail", ROLE_CLIENT, "this host itself dropped {n} of them"
        ),
    ]
    what = (
        ": the SYNs left it and nobody answered. A full queue of the listener, a firewall, a full "
        "conntrack table, a NAT without ports, a missing route or loss look alike from here"
    )
    return BEYOND_CLIENT.explains(count, evidence, first_at=evidence[0].at, words={"what": what})


def packet_loss(observation: Observation, count: int, evidence: list[Evidence]) -> Cause:
    """Return loss between the two hosts as a cause."""
    watched = observation.places
    evidence = [
        *evidence,
        Evidence(
            metric="nf_conntrack_stat_drop",
            value=0,
            role=ROLE_CLIENT,
            text=(
                "no counter of conntrack, firewall, listener or neighbour accounts for them "
                f"({', '.join(watched)} watched)"
            ),
        ),
    ]
    return PACKET_LOSS.explains(count, evidence, first_at=evidence[0].at)


def _names(found: Sequence[Suspect]) -> str:
    return ", ".join(f"{suspect.kind.name} ({suspect.drops:,} packets)" for suspect in found)
