"""One shard of a fleet, and what is kept of it until all are there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from loadgen.accounting.messages import Totals
from loadgen.fleet.part import Part
from loadgen.run.conclude import About
from loadgen.run.hlog import Logged
from loadgen.summary import (
    Cause,
    Clock,
    Environment,
    Explanation,
    Generator,
    Notice,
    SnapshotNote,
    Validity,
)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One shard and what came home of it."""

    index: int
    """From 0."""
    node: str
    part: Part | None
    """None when nothing did."""
    intervals: Iterable[Logged] = ()
    """Its histograms."""
    directory: str = ""
    said: str = ""
    """Why it is not whole, where that is known; one line."""
    clock: Clock | None = None

    @property
    def label(self) -> str:
        """How lines name it."""
        return f"shard {self.index + 1}" + (f" on {self.node}" if self.node else "")


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a shard until all are there."""

    index: int
    node: str
    label: str
    directory: str
    said: str
    clock: Clock | None
    state: Literal["whole", "partial", "missing"]
    totals: Totals
    workers: int = 0
    max_in_flight: int = 0
    sources: list[str] = msgspec.field(default_factory=list)
    elapsed: float = 0.0
    late: float = 0.0
    interrupted: bool = False
    whole: bool = False
    """Whether it ran to its end, with or without all of its workers."""
    environment: Environment | None = None
    validity: Validity = "partial"
    causes: list[Cause] = msgspec.field(default_factory=list)
    explanations: list[Explanation] = msgspec.field(default_factory=list)
    snapshots: list[SnapshotNote] = msgspec.field(default_factory=list)
    warnings: list[Notice] = msgspec.field(default_factory=list)
    generator: Generator | None = None

    @classmethod
    def missing(cls, member: Member) -> Told:
        """Return a shard of which nothing is there."""
        return cls(
            index=member.index,
            node=member.node,
            label=member.label,
            directory="",
            said=member.said or "nothing of it came home",
            clock=member.clock,
            state="missing",
            totals=Totals(),
        )

    @classmethod
    def of(cls, member: Member, part: Part) -> Told:
        """Return what the whole needs of a shard."""
        about, summary, ended = part.about, part.summary, part.about.ended
        said = _shortfall(about, summary.elapsed)
        return cls(
            index=member.index,
            node=member.node,
            label=member.label,
            directory=member.directory,
            said=said and (member.said or said),
            clock=member.clock,
            state="partial" if said else "whole",
            totals=part.totals,
            workers=about.config.workers,
            max_in_flight=about.config.max_in_flight,
            sources=about.config.source_addresses,
            elapsed=summary.elapsed,
            late=about.late,
            interrupted=ended is not None and ended.interrupted,
            whole=ended is not None and not ended.interrupted,
            environment=about.environment,
            validity=summary.validity,
            causes=summary.causes,
            explanations=summary.explanations,
            snapshots=summary.snapshots,
            warnings=summary.warnings,
            generator=summary.generator,
        )


def _shortfall(about: About, elapsed: float) -> str:
    """Return why a shard is not whole; nothing when it is."""
    ended = about.ended
    if ended is None:
        return f"it ended {elapsed:.1f} s into the run without a report"
    if ended.lost_workers:
        return "; ".join(ended.lost_workers)
    if ended.aborted_by is not None:
        return f"it was ended by {ended.aborted_by!r}"
    if ended.interrupted:
        return f"it was interrupted {elapsed:.1f} s into the run"
    return f"it was ready {about.late:.2f} s after the agreed start" if about.late else ""
