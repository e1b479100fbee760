"""A place where packets may get lost, with what speaks for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadgen.sample import ROLE_CLIENT, ROLE_HOST, ROLE_SERVER
from loadgen.summary import Cause, Evidence, Fault, Number

PLACES: dict[str, tuple[str, Fault, str]] = {
    ROLE_CLIENT: ("client", "client_host", "on the client"),
    ROLE_HOST: ("between", "network", "on the host between client and server"),
    ROLE_SERVER: ("server", "server_host", "on the server's host"),
}
"""By role: its part of a cause's name, whose fault it is, and how it is called."""


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
