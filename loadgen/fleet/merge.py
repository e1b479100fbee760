"""Adds up the shards of one run into one summary. Pure.

Counts and histograms add; percentiles are taken afterwards. Nothing is averaged, and nothing is
scaled up: what a shard was to start while it was dead, or not yet there, is in `scheduled` and, as
`not_started`, in `dropped`, so that the equations of a summary hold for the fleet too.

Each shard's kernel is diagnosed by itself, for limits belong to a host: ports run out on one node
and not on its neighbour. The whole's causes are the shards' own, put together by name, each with
the nodes it was found on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final, Literal

import msgspec

from loadgen import thresholds
from loadgen.accounting import latency, sums
from loadgen.accounting.latency import IntervalHistogram
from loadgen.accounting.messages import LATENCIES, LATENESS, Totals
from loadgen.config import RunConfig
from loadgen.diagnosis import honesty
from loadgen.diagnosis.causes import PORT_SEARCH_SLOW
from loadgen.errors import ChurnlabError
from loadgen.fleet.part import STEP, Part
from loadgen.outcome import Outcome
from loadgen.run.conclude import About, Ended
from loadgen.sample import ROLE_GENERATOR, Sample
from loadgen.summary import (
    Cause,
    CauseShare,
    Clock,
    Environment,
    Evidence,
    Explanation,
    Generator,
    MetricRange,
    Notice,
    Rate,
    ShardNote,
    SnapshotNote,
    Summary,
    ThresholdResult,
    Validity,
    Verdict,
)
from loadgen.thresholds import Threshold

NOT_STARTED: Final = "not_started"
"""The reason of drops of arrivals that were due while their shard was dead or not yet there."""
KERNELS: Final = 16
"""Shards whose kernel metrics the whole's summary repeats; of further ones each shard's own has them."""
_NAMED: Final = 5
"""Shards that one line names; the rest are counted."""
_EVIDENCE: Final = 6
"""Pieces of evidence that a cause of the whole keeps, those of the shards hit most first."""


class MergeError(ChurnlabError):
    """Runs that are not shards of one."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One shard and what came home of it."""

    index: int
    """From 0."""
    node: str
    part: Part | None
    """None when nothing did."""
    directory: str = ""
    said: str = ""
    """Why it is not whole, where that is known; one line."""
    clock: Clock | None = None

    @property
    def label(self) -> str:
        """How lines name it."""
        return f"shard {self.index + 1}" + (f" on {self.node}" if self.node else "")


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """The whole: what a report of it is made from."""

    about: About
    summary: Summary
    samples: list[Sample]
    """The generators together, once a second."""
    intervals: list[IntervalHistogram]


class Merger:
    """Takes shards one by one, and forgets what the whole does not need of them.

    Args:
        count: how many shards there were to be.
        expressions: the thresholds of the whole; none for those of the shards' configuration.
    """

    def __init__(self, count: int, expressions: Sequence[str] | None = None) -> None:
        self._count = count
        self._expressions = expressions
        self._first: About | None = None
        self._config: RunConfig | None = None
        self._members: list[_Told] = []
        self._gates: list[Threshold] = []
        self._kernel_gates: dict[str, list[ThresholdResult]] = {}
        self._histograms: dict[tuple[str, float], dict[int, int]] = defaultdict(
            partial(defaultdict, int)
        )
        self._lengths: dict[tuple[str, float], float] = {}
        self._course: list[Totals] = []
        self._busiest: list[float] = []
        self._ended_at: dict[int, list[Totals]] = {}
        self._kernel: dict[str, dict[str, MetricRange]] = {}

    def add(self, member: Member) -> None:
        """Take one shard.

        Raises:
            MergeError: when it is no shard of the same run, or one that was taken already.
        """
        if any(told.index == member.index for told in self._members):
            raise MergeError(
                f"{member.directory or member.label}: shard {member.index + 1} is given twice"
            )
        part = member.part
        if part is None:
            self._members.append(_Told.missing(member))
            return
        if self._first is None:
            self._begin(part)
        elif _common(part.about) != _common(self._about):
            raise MergeError(
                f"{member.directory or member.label} is not a shard of the same run as "
                f"{self._members[0].directory or 'the others'}"
            )
        self._members.append(_Told.of(member, part))
        for interval in part.intervals:
            key = interval.tag, round(interval.start, 3)
            counts = self._histograms[key]
            # The innermost loop of it all: 150,000 rounds for a minute of one shard.
            for bucket, number in interval.counts.items():
                counts[bucket] += number
            self._lengths[key] = max(self._lengths.get(key, 0.0), interval.length)
        self._add_course(part)
        for gate in self._gates:
            if "." in gate.metric:
                found = gate.check(part.summary)
                self._kernel_gates.setdefault(gate.expression, []).append(found)
        if member.index < KERNELS:
            for role, metrics in part.summary.kernel.items():
                self._kernel[role if member.index == 0 else f"{role}@{member.index + 1}"] = metrics

    @property
    def _about(self) -> About:
        assert self._first is not None
        return self._first

    def _begin(self, part: Part) -> None:
        self._first = part.about
        if self._expressions is None:
            self._expressions = part.about.config.thresholds
        expressions = self._expressions or [thresholds.DEFAULT]
        self._gates = [thresholds.parse_threshold(text) for text in expressions]

    def _add_course(self, part: Part) -> None:
        for number, totals in enumerate(part.course):
            if number == len(self._course):
                self._course.append(totals)
                self._busiest.append(part.busiest[number])
            else:
                self._course[number] = sums.add((self._course[number], totals))
                self._busiest[number] = max(self._busiest[number], part.busiest[number])
        self._ended_at.setdefault(len(part.course), []).append(part.totals)

    def result(self) -> Merged:
        """Return the whole.

        Raises:
            MergeError: when nothing of any shard is there.
        """
        if self._first is None:
            raise MergeError("nothing of any shard came home; there is nothing to report")
        first, members = self._first, sorted(self._members, key=lambda told: told.index)
        known = {told.index for told in members}
        members += [
            _Told.missing(Member(index=index, node="", part=None, said="it is not among them"))
            for index in range(self._count)
            if index not in known
        ]
        config = msgspec.structs.replace(
            first.config,
            shard=(0, 1),
            workers=sum(told.workers for told in members),
            max_in_flight=sum(told.max_in_flight for told in members),
            source_addresses=[one for told in members for one in told.sources],
            thresholds=list(self._expressions or ()),
        )
        until = _until(members, config)
        lost = [_not_started(told, config, self._count, until) for told in members]
        totals = sums.add(told.totals for told in members)
        _account(totals, sum(number for number, _ in lost), sum(late for _, late in lost))
        elapsed = max(told.elapsed for told in members)
        intervals = self._intervals()
        latencies = _latencies(intervals)
        notes = [
            _note(told, number, late) for told, (number, late) in zip(members, lost, strict=True)
        ]
        causes = _causes(members)
        whole = any(told.whole for told in members)
        seconds = until if whole else min(elapsed, config.duration) or config.duration
        validity = _validity(members)
        summary = Summary(
            config=config,
            environment=_environment(
                [told.environment for told in members if told.environment is not None]
            ),
            scheduled=totals.scheduled,
            started=totals.started,
            ok=totals.ok,
            failed=totals.failed,
            unfinished=totals.unfinished,
            dropped=totals.dropped,
            drops=totals.drops,
            elapsed=elapsed,
            rate=Rate(
                target=None if config.closed_loop else config.law().mean_rate,
                offered=totals.scheduled / seconds,
                achieved=totals.ok / seconds,
            ),
            outcomes={
                name: number
                for name, number in {str(Outcome.OK): totals.ok, **totals.outcomes}.items()
                if number
            },
            errors=totals.errors,
            replies=totals.replies,
            first_failure_at=totals.first_failure_at,
            started_before_first_failure=totals.started_before_first_failure,
            causes=causes,
            explanations=_explanations(members),
            snapshots=_snapshots(members),
            latency={tag: found for tag, found in latencies.items() if tag != LATENESS},
            lateness=latencies.get(LATENESS),
            kernel=self._kernel,
            generator=_generator(members, totals, config.workers),
            warnings=_warnings(members, notes),
            validity=validity,
            verdict=Verdict(passed=True, thresholds=[]),
            shards=notes,
        )
        about = msgspec.structs.replace(
            first,
            config=config,
            origin=None,
            late=0.0,
            snapshots=summary.snapshots,
            ended=Ended(elapsed=elapsed, interrupted=any(told.interrupted for told in members)),
        )
        return Merged(
            about=about,
            summary=msgspec.structs.replace(summary, verdict=self._verdict(summary)),
            samples=self._samples(totals, elapsed),
            intervals=intervals,
        )

    def _verdict(self, summary: Summary) -> Verdict:
        """Judge the thresholds: on the whole, those on a kernel's metrics on every shard."""
        results = [
            _worst(self._kernel_gates[gate.expression])
            if gate.expression in self._kernel_gates
            else gate.check(summary)
            for gate in self._gates
        ]
        return Verdict(passed=all(one.passed for one in results), thresholds=results)

    def _intervals(self) -> list[IntervalHistogram]:
        return [
            IntervalHistogram(tag, start, self._lengths[tag, start], counts)
            for (tag, start), counts in sorted(
                self._histograms.items(), key=lambda item: (item[0][1], item[0][0])
            )
        ]

    def _samples(self, totals: Totals, elapsed: float) -> list[Sample]:
        """Return the course of the whole: at each whole second, everyone's latest totals."""
        gone: list[Totals] = []
        series = []
        for number, running in enumerate(self._course):
            gone += self._ended_at.get(number, ())
            now = sums.add((running, *gone)) if gone else running
            if len(gone) > 1:
                gone = [sums.add(gone)]
            values = sums.values_of(now, self._busiest[number])
            series.append(Sample((number + 1) * STEP, ROLE_GENERATOR, values))
        last = series[-1].t if series else 0.0
        busiest = self._busiest[-1] if self._busiest else 0.0
        end = Sample(max(elapsed, last), ROLE_GENERATOR, sums.values_of(totals, busiest))
        return [*series, end]


class _Told(msgspec.Struct, frozen=True, kw_only=True):
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
    def missing(cls, member: Member) -> _Told:
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
    def of(cls, member: Member, part: Part) -> _Told:
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


def _common(about: About) -> dict[str, object]:
    """Return what must be equal in all shards of a run."""
    config: dict[str, object] = msgspec.to_builtins(about.config)
    for own in ("workers", "max_in_flight", "source_addresses", "namespaces", "addresses"):
        config.pop(own, None)
    config["shard"] = about.config.shard[1]
    return config


# --- what nobody started --------------------------------------------------------------------


def _until(members: Sequence[_Told], config: RunConfig) -> float:
    """Return until when arrivals fell due: to the end, unless every shard was stopped."""
    if any(told.whole for told in members):
        return config.duration
    if any(told.state == "missing" or not told.interrupted for told in members):
        return config.duration
    return min(config.duration, max(told.elapsed for told in members))


def due_in(
    config: RunConfig, index: int, count: int, workers: int, since: float, until: float
) -> int:
    """Return how many arrivals of one shard fall due in a stretch of the counted run.

    Args:
        config: the run's; its shard does not matter.
        index: of the shard, from 0.
        count: of shards.
        workers: of this shard: a Poisson process is split among them all.
        since: seconds since the run's start, counted in.
        until: seconds, not counted in.
    """
    if config.closed_loop or until <= since:
        return 0
    law = config.law()
    number = 0
    for worker in range(max(1, workers)):
        for due in law.arrivals(index + count * worker, count * max(1, workers)):
            if due - config.warmup >= until:
                break
            number += due - config.warmup >= since
    return number


def _not_started(told: _Told, config: RunConfig, count: int, until: float) -> tuple[int, int]:
    """Return how many arrivals nobody was there to start: uncounted ones, and counted as overdue."""
    if told.state == "whole" or (told.interrupted and until < config.duration):
        return 0, 0
    due = due_in(config, told.index, count, told.workers, 0.0, until)
    late = 0
    if told.late:
        ready = min(until, told.late - config.max_lateness - config.warmup)
        late = due_in(config, told.index, count, told.workers, 0.0, ready)
    return max(0, due - told.totals.scheduled), min(late, told.totals.drops.get("overdue", 0))


def _account(totals: Totals, missing: int, late: int) -> None:
    """Count arrivals that nobody was there to start as such."""
    if not missing + late:
        return
    totals.scheduled += missing
    totals.dropped += missing
    drops = dict(totals.drops)
    if late:
        drops["overdue"] -= late
    drops[NOT_STARTED] = missing + late
    totals.drops = {reason: number for reason, number in drops.items() if number}


def _note(told: _Told, missing: int, late: int) -> ShardNote:
    return ShardNote(
        shard=told.index + 1,
        node=told.node,
        state=told.state,
        said=told.said,
        directory=told.directory,
        scheduled=told.totals.scheduled + missing,
        ok=told.totals.ok,
        failed=told.totals.failed,
        dropped=told.totals.dropped + missing,
        not_started=missing + late,
        unfinished=told.totals.unfinished,
        clock=told.clock,
    )


# --- what the shards say --------------------------------------------------------------------


def _latencies(intervals: Iterable[IntervalHistogram]) -> dict[str, Any]:
    histograms: dict[str, list[latency.Counts]] = {}
    for interval in intervals:
        histograms.setdefault(interval.tag, []).append(interval.counts)
    return {
        tag: described
        for tag in (*LATENCIES, LATENESS)
        if (described := latency.describe(latency.merged(histograms.get(tag, ())))) is not None
    }


def names(members: Sequence[str]) -> str:
    """Return a few names, and how many more there are."""
    shown = ", ".join(members[:_NAMED])
    more = len(members) - _NAMED
    return shown if more <= 0 else f"{shown} and {more:,} more"


def _causes(members: Sequence[_Told]) -> list[Cause]:
    """Put the shards' causes together by name, those that cost most first."""
    found = [(cause, told) for told in members for cause in told.causes]
    found.sort(key=lambda pair: (pair[0].cause, pair[0].fault, -pair[0].connections))
    alone = len(members) == 1
    together = []
    for _, group in groupby(found, key=lambda pair: (pair[0].cause, pair[0].fault)):
        shares = list(group)
        chief = shares[0][0]
        labels = [told.label for _, told in shares]
        everywhere = len(shares) == len(members)
        where = "every shard" if everywhere and len(shares) > _NAMED else names(labels)
        together.append(
            msgspec.structs.replace(
                chief,
                connections=sum(cause.connections for cause, _ in shares),
                first_at=min(
                    (cause.first_at for cause, _ in shares if cause.first_at is not None),
                    default=None,
                ),
                title=chief.title if alone else f"{chief.title} ({where})",
                evidence=_evidence(shares, alone=alone),
                shards=[
                    CauseShare(shard=told.index + 1, node=told.node, connections=cause.connections)
                    for cause, told in shares
                ],
            )
        )
    return sorted(together, key=lambda cause: -cause.connections)


def _evidence(shares: Sequence[tuple[Cause, _Told]], *, alone: bool) -> list[Evidence]:
    """Return the evidence of the shards that were hit most, each piece with its shard."""
    found: list[Evidence] = []
    for cause, told in shares:
        if found and len(found) + len(cause.evidence) > _EVIDENCE:
            break
        for piece in cause.evidence:
            role = piece.role if told.index == 0 else f"{piece.role}@{told.index + 1}"
            text = piece.text if alone else f"{told.label}: {piece.text}"
            found.append(msgspec.structs.replace(piece, role=role, text=text))
    return found


def _explanations(members: Sequence[_Told]) -> list[Explanation]:
    """Return each explanation once, in the words of the first shard that has it."""
    by_name: dict[str, list[tuple[Explanation, _Told]]] = {}
    for told in members:
        for explanation in told.explanations:
            by_name.setdefault(explanation.name, []).append((explanation, told))
    found = []
    for shares in by_name.values():
        chief, told = shares[0]
        if len(members) > 1:
            more = f" (likewise {len(shares) - 1:,} more)" if len(shares) > 1 else ""
            chief = msgspec.structs.replace(chief, text=f"{told.label}: {chief.text}{more}")
        found.append(chief)
    return found


def _snapshots(members: Sequence[_Told]) -> list[SnapshotNote]:
    """Return the earliest snapshot of each outcome, with the file's place in the fleet's."""
    earliest: dict[str, SnapshotNote] = {}
    for told in members:
        for kept in told.snapshots:
            if kept.outcome not in earliest or kept.at < earliest[kept.outcome].at:
                file = f"{told.directory}/{kept.file}" if told.directory else kept.file
                earliest[kept.outcome] = msgspec.structs.replace(kept, file=file)
    return sorted(earliest.values(), key=lambda kept: kept.at)


def _environment(found: Sequence[Environment]) -> Environment:
    """Return what is the same on all nodes as it is; of names that differ, a list of them."""
    merged: dict[str, Any] = {}
    for field in Environment.__struct_fields__:
        values = list(dict.fromkeys(getattr(one, field) for one in found))
        if len(values) == 1:
            merged[field] = values[0]
        elif all(isinstance(value, str) for value in values):
            merged[field] = names(values)
    return Environment(**merged)


def _generator(members: Sequence[_Told], totals: Totals, workers: int) -> Generator:
    parts = [(told, told.generator) for told in members if told.generator is not None]
    alone = len(members) == 1
    limits: dict[str, list[str]] = {}
    for told, one in parts:
        if one.limit:
            limits.setdefault(one.limit, []).append(told.label)
    most = max(limits.items(), key=lambda item: len(item[1]), default=("", []))
    limit = most[0] if len(most[1]) == len(parts) else f"{names(most[1])}: {most[0]}"
    return Generator(
        workers=workers,
        cpu_user=totals.cpu_user,
        cpu_system=totals.cpu_system,
        connect_call_seconds=totals.connect_call_seconds,
        saturated=any(one.saturated for _, one in parts),
        reasons=[
            reason if alone else f"{told.label}: {reason}"
            for told, one in parts
            for reason in one.reasons
        ][:_NAMED],
        limit=limit if most[1] else "",
    )


_OF_ONE: Final = frozenset({"truncated", "interrupted", "lost_worker", "started_late"})
"""Warnings of a shard that its own line says."""


def _warnings(members: Sequence[_Told], notes: Sequence[ShardNote]) -> list[Notice]:
    found = []
    for told, note in zip(members, notes, strict=True):
        if told.state == "whole":
            continue
        lost = f"; {note.not_started:,} arrivals of its share were not started" * bool(
            note.not_started
        )
        found.append(
            Notice(
                code="shard_" + told.state,
                text=f"{told.label}: {told.said}{lost}",
                remedy="its share is not made up for; see to that node and run again",
            )
        )
    if len(found) > _NAMED:
        more = len(found) - _NAMED
        found[_NAMED:] = [
            Notice(
                code="shard_partial",
                text=f"{more:,} more shards are not whole",
                remedy="the list of shards has them all",
            )
        ]
    by_text: dict[tuple[str, str, str], list[str]] = {}
    for told in members:
        for warning in told.warnings:
            if warning.code not in _OF_ONE:
                key = warning.code, warning.text, warning.remedy
                by_text.setdefault(key, []).append(told.label)
    by_code: dict[str, int] = {}
    for (code, text, remedy), labels in by_text.items():
        by_code[code] = by_code.get(code, 0) + 1
        if by_code[code] <= _NAMED:
            where = "" if len(labels) == len(members) else f"{names(labels)}: "
            found.append(Notice(code=code, text=where + text, remedy=remedy))
    return found


def _validity(members: Sequence[_Told]) -> Validity:
    """Return the whole's validity, by the rule that a run of one has.

    A shard is limited by its own share of the arrivals; what it dropped may be too little of the
    whole's to matter.
    """
    if any(told.state != "whole" for told in members):
        return "partial"
    limited = [told for told in members if told.validity == "generator_limited"]
    if not limited:
        return "valid"
    causes = [cause for told in members for cause in told.causes]
    own = sum(cause.connections for cause in causes if cause.fault == "generator")
    beside = sum(cause.connections for cause in causes if cause.cause == PORT_SEARCH_SLOW.name)
    measured = all(any(cause.fault == "generator" for cause in told.causes) for told in limited)
    due = sum(told.totals.scheduled for told in members)
    few = own <= honesty.TOLERATED_DROPS * due or own <= honesty.TOLERATED_BESIDE * beside
    return "valid" if measured and few else "generator_limited"


def _worst(results: Sequence[ThresholdResult]) -> ThresholdResult:
    """Return the result of the shard that fails a gate, or of the first where all pass."""
    return next((one for one in results if not one.passed), results[0])
