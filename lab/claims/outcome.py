"""How an experiment ended."""

from __future__ import annotations

from dataclasses import dataclass

from lab.claims.findings import Finding


@dataclass(frozen=True, slots=True)
class Found:
    """It measured."""

    finding: Finding
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be done here, for a reason that it knows."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """It went wrong in a way that was not foreseen: nothing can be concluded."""

    reason: str
    seconds: float


Outcome = Found | Refused | Failed
