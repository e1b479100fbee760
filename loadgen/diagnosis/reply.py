"""Connections that were made and never got a reply, and what they kept from starting.

A request that is not acknowledged is sent again after 200 ms and more (RFC 6298; Linux's least
retransmission timeout). A server that hangs has a kernel that acknowledges all the same: so
retransmissions mean that packets are lost, and their absence that the server itself is to blame.
"""

from __future__ import annotations

import math

import msgspec

from loadgen.diagnosis import drops, handshake, listener
from loadgen.diagnosis.causes import BEYOND_CLIENT, IN_FLIGHT_LIMIT, SERVER_SLOW
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.diagnosis.suspect import replace_evidence
from loadgen.outcome import Outcome
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR
from loadgen.summary import Cause, Evidence, Number
from loadgen.units import format_duration

_LEAST_RETRANSMISSION = 0.2
"""Seconds, TCP_RTO_MIN."""
_RETRANSMITTED = "netstat_Tcp_RetransSegs"
_SYNS = "netstat_TcpExt_TCPSynRetrans"


def lost_requests(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Return the causes of connections that got no reply although they were made."""
    count = ledger.open(Outcome.REPLY_TIMEOUT)
    if not count:
        return []
    whole = observation.count_evidence(Outcome.REPLY_TIMEOUT, count)
    causes = []
    disabled = listener.listener_disabled(observation)
    if disabled:
        taken = ledger.take([Outcome.REPLY_TIMEOUT])
        kind, more = listener.kind_of_limit(observation)
        causes.append(kind.explains(taken, [whole, *more, *disabled]))
    lost = _lost(observation, ledger.open(Outcome.REPLY_TIMEOUT))
    if lost:
        causes.append(_loss(observation, ledger.take([Outcome.REPLY_TIMEOUT], lost), whole))
    silent = ledger.take([Outcome.REPLY_TIMEOUT], observation.silent(Outcome.REPLY_TIMEOUT))
    if silent:
        suspect = handshake.silence(observation, silent, _queue(observation))
        causes.append(suspect.explains(silent, whole))
    slow = ledger.take([Outcome.REPLY_TIMEOUT])
    if slow:
        causes.append(slowness(observation, slow, [whole, *_queue(observation)]))
    ledger.hanging.extend(causes)
    return causes


def late_closes(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Answered, but not closed by the server in time."""
    count = ledger.open(Outcome.CLOSE_TIMEOUT)
    if not count:
        return []
    evidence = [observation.count_evidence(Outcome.CLOSE_TIMEOUT, count)]
    cause = slowness(observation, ledger.take([Outcome.CLOSE_TIMEOUT]), evidence)
    ledger.hanging.append(cause)
    return [cause]


def _lost(observation: Observation, count: int) -> int:
    """Return how many of `count` unanswered requests the retransmissions of data speak for."""
    timeout = observation.config.timeout
    if not count or timeout <= _LEAST_RETRANSMISSION:
        return 0
    since = handshake.began(observation, Outcome.REPLY_TIMEOUT, timeout)
    again: Number = 0
    for role in dict.fromkeys((ROLE_CLIENT, observation.server or ROLE_CLIENT)):
        segments = observation.change(_RETRANSMITTED, role, since)
        again += max(0, segments - observation.change(_SYNS, role, since))
    # The timeout doubles each time: 0.2, 0.6, 1.4, 3.0 s after the request was sent.
    each = max(1, int(math.log2(timeout / _LEAST_RETRANSMISSION + 1)))
    estimate = again / each
    return count if estimate >= handshake.COMPLETE * count else int(estimate)


def _loss(observation: Observation, count: int, whole: Evidence) -> Cause:
    """Return the cause of requests that were lost: a counted drop where there is one."""
    since = handshake.began(observation, Outcome.REPLY_TIMEOUT, observation.config.timeout)
    evidence = [
        whole,
        observation.counter(
            _RETRANSMITTED, ROLE_CLIENT, "{n} segments had to be sent again", since
        ),
    ]
    found = max(drops.suspects(observation, since), key=lambda suspect: suspect.drops, default=None)
    if found is not None and found.drops >= count:
        return found.explains(count, *evidence)
    if observation.server is None and not observation.middle:
        # A full accept queue drops the last ACK of a handshake, and then every segment of a client
        # that thinks itself connected: from here that is loss.
        what = (
            ": its requests were sent again and not acknowledged. A full accept queue of the listener "
            "and loss on the way look alike from here"
        )
        return BEYOND_CLIENT.explains(
            count, evidence, first_at=evidence[0].at, words={"what": what}
        )
    return handshake.packet_loss(observation, count, evidence)


def _queue(observation: Observation) -> list[Evidence]:
    """Return as evidence the connections that waited for accept(), if any were seen."""
    waiting = observation.most("listen_queue", observation.server)
    if waiting is None or not waiting.value:
        return []
    text = f"{waiting.value:,} connections waited for the server's accept()"
    return [replace_evidence(waiting, None, text)]


def slowness(observation: Observation, count: int, evidence: list[Evidence]) -> Cause:
    """Return a server that answers too slowly as a cause."""
    first = observation.latency.get("first_byte")
    if first is not None:
        text = f"of the answers that came, half took {format_duration(first.p50)} or more to begin"
        evidence = [
            *evidence,
            Evidence(
                metric="latency_first_byte",
                value=first.p50,
                limit=observation.config.timeout,
                role=ROLE_GENERATOR,
                text=text,
            ),
        ]
    return SERVER_SLOW.explains(count, evidence)


def _reply_time(observation: Observation) -> float | None:
    """Return how long an answered attempt took from its handshake on; None when none was.

    Handshakes of attempts that failed later are counted too, and may have taken longer than all of an
    answered attempt: the usual one stands for those that were answered.
    """
    total, connect = observation.latency.get("total"), observation.latency.get("connect")
    return None if total is None or connect is None else max(0.0, total.mean - connect.p50)


def full_flight(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Arrivals that found as many attempts under way as allowed: held up by whom?

    By attempts that hang until their deadline, where there are such: then their causes explain the
    dropped arrivals too, each its share. Else by what an answered attempt spends most time on
    (Little's law: the number under way is the rate times the time that each takes).
    """
    count, ledger.in_flight_drops = ledger.in_flight_drops, 0
    if not count:
        return []
    most = observation.config.max_in_flight
    full = Evidence(
        metric="generator_drop_in_flight",
        value=count,
        limit=most,
        role=ROLE_GENERATOR,
        at=observation.first_at("drop_in_flight"),
        text=f"{count:,} arrivals found {most:,} attempts under way (--max-in-flight)",
    )
    hanging = [cause for cause in ledger.hanging if cause.connections]
    if hanging:
        parts = handshake.shares(count, 0, [cause.connections for cause in hanging])
        return [
            msgspec.structs.replace(cause, connections=part, evidence=[full])
            for cause, part in zip(hanging, parts, strict=True)
            if part
        ]
    reply, total = _reply_time(observation), observation.latency.get("total")
    lateness = observation.latency.get("lateness")
    life = 0.0 if total is None else total.mean - (lateness.mean if lateness else 0.0)
    if reply is not None and reply > life / 2:
        return [slowness(observation, count, [full])]
    words = {"life": f" ({format_duration(max(0.0, life))} here)"}
    return [IN_FLIGHT_LIMIT.explains(count, [full], words=words)]
