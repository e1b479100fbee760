"""A place where packets may get lost, with what speaks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loadgen.diagnosis.kinds import CauseKind
from loadgen.summary import Cause, Evidence, Number


@dataclass(frozen=True, slots=True)
class Suspect:
    """One place where packets were dropped, and how many."""

    kind: CauseKind
    drops: Number
    evidence: list[Evidence] = field(default_factory=list)
    inferred: bool = False
    """Whether the number is what other counters leave over, and holds a little of everything."""
    words: Mapping[str, str] = field(default_factory=dict)
    """For the slots of the kind's texts."""

    def explains(self, connections: int, *more: Evidence) -> Cause:
        """Return the cause that this suspect is, of so many connections."""
        return self.kind.explains(connections, [*more, *self.evidence], words=self.words)


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
