"""From outcomes and samples to causes: which limit ended the attempts, and the evidence for it.

Each rule looks at the whole observation, takes what it can explain off a ledger and returns causes.
The order of the rules is their precedence: the more a rule demands, the earlier it is asked. What
is left at the end is reported as unexplained, never guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from loadgen.diagnosis import handshake, middle, plain, ports, reached, refusal, reply, spoken
from loadgen.diagnosis.causes import CATALOGUE, TIME_WAIT_OVERFLOW
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.diagnosis.success import explanations
from loadgen.summary import Cause

__all__ = [
    "CATALOGUE",
    "RULES",
    "TIME_WAIT_OVERFLOW",
    "Ledger",
    "Observation",
    "diagnose",
    "explanations",
]

Rule = Callable[[Observation, Ledger], list[Cause]]

RULES: tuple[Rule, ...] = (
    ports.ports_exhausted,
    ports.port_search_slow,
    ports.bind_early,
    spoken.another_protocol,
    middle.proxy_ports,
    middle.proxy_takes_no_more,
    refusal.connection_limit,
    refusal.refused,
    refusal.aborted_by_listener,
    refusal.no_way_there,
    handshake.lost_handshakes,
    reply.lost_requests,
    reply.late_closes,
    reply.full_flight,
    plain.plain_causes,
    plain.generator_saturated,
    plain.unexplained,
    reached.time_wait_overflow,
    reached.syn_cookies,
    ports.port_search_felt,
)


def diagnose(observation: Observation) -> list[Cause]:
    """Return the causes of everything that failed or was dropped, the greatest first.

    Last come limits that were reached without failing anyone, with 0 connections.
    """
    ledger = Ledger.of(observation)
    causes = _merged(cause for rule in RULES for cause in rule(observation, ledger))
    return sorted(causes, key=lambda cause: cause.connections, reverse=True)


def _merged(causes: Iterable[Cause]) -> list[Cause]:
    """Return the causes with those of one name made one: it may end attempts in several ways."""
    found: dict[str, Cause] = {}
    for cause in causes:
        known = found.setdefault(cause.cause, cause)
        if known is cause:
            continue
        said = {(item.metric, item.role) for item in known.evidence}
        moments = [c.first_at for c in (known, cause) if c.first_at is not None]
        found[cause.cause] = msgspec.structs.replace(
            known,
            connections=known.connections + cause.connections,
            first_at=min(moments, default=None),
            evidence=[
                *known.evidence,
                *(item for item in cause.evidence if (item.metric, item.role) not in said),
            ],
        )
    return list(found.values())
