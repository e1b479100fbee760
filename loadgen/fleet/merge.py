"""Adds up the shards of one run into one summary. Pure.

Counts and histograms add; percentiles are taken afterwards. Nothing is averaged, and nothing is
scaled up: what a shard was to start while it was dead, or not yet there, is in `scheduled` and, as
`not_started`, in `dropped`, so that the equations of a summary hold for the fleet too.

What a shard is, `member` says; `missing` counts what nobody started; `together` has what the shards
say of themselves. All shards cost the same: a digest of some 50 KB and 300 histograms for a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from loadgen import thresholds
from loadgen.accounting import figures, sums
from loadgen.accounting.latency import IntervalHistogram, by_tag
from loadgen.accounting.messages import LATENESS, Totals
from loadgen.errors import ChurnlabError
from loadgen.fleet import missing, together
from loadgen.fleet.member import Member, Told
from loadgen.fleet.part import STEP, Part
from loadgen.run.conclude import About, Ended
from loadgen.run.hlog import Sums
from loadgen.sample import ROLE_GENERATOR, Sample
from loadgen.summary import (
    MetricRange,
    Summary,
    ThresholdResult,
    Verdict,
)
from loadgen.thresholds import Threshold

KERNELS: Final = 16
"""Shards whose kernel metrics the whole's summary repeats; of further ones each shard's own has them."""


class MergeError(ChurnlabError):
    """Runs that are not shards of one."""


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
        self._common: dict[str, object] = {}
        """What all shards of the run have in common with the first."""
        self._members: dict[int, Told] = {}
        self._gates: list[Threshold] = []
        self._kernel_gates: dict[str, list[ThresholdResult]] = {}
        self._histograms = Sums()
        self._course: list[Totals] = []
        self._busiest: list[float] = []
        self._ended_at: dict[int, list[Totals]] = {}
        self._kernel: dict[str, dict[str, MetricRange]] = {}

    def add(self, member: Member) -> None:
        """Take one shard.

        Raises:
            MergeError: when it is no shard of the same run, or one that was taken already.
        """
        if member.index in self._members:
            raise MergeError(
                f"{member.directory or member.label}: shard {member.index + 1} is given twice"
            )
        part = member.part
        if part is None:
            self._members[member.index] = Told.missing(member)
            return
        if self._first is None:
            self._begin(part)
        elif _common(part.about) != self._common:
            first = next(iter(self._members.values()))
            raise MergeError(
                f"{member.directory or member.label} is not a shard of the same run as "
                f"{first.directory or 'the others'}"
            )
        self._members[member.index] = Told.of(member, part)
        for interval in member.intervals:
            self._histograms.add(interval)
        self._add_course(part)
        for gate in self._gates:
            if "." in gate.metric:
                found = gate.check(part.summary)
                self._kernel_gates.setdefault(gate.expression, []).append(found)
        if member.index < KERNELS:
            for role, metrics in part.summary.kernel.items():
                self._kernel[role if member.index == 0 else f"{role}@{member.index + 1}"] = metrics

    def _begin(self, part: Part) -> None:
        self._first = part.about
        self._common = _common(part.about)
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
        first = self._first
        for index in range(self._count):
            if index not in self._members:
                absent = Member(index=index, node="", part=None, said="it is not among them")
                self._members[index] = Told.missing(absent)
        members = sorted(self._members.values(), key=lambda told: told.index)
        config = msgspec.structs.replace(
            first.config,
            shard=(0, 1),
            workers=sum(told.workers for told in members),
            max_in_flight=sum(told.max_in_flight for told in members),
            source_addresses=[one for told in members for one in told.sources],
            thresholds=list(self._expressions or ()),
        )
        until = missing.until(members, config)
        lost = [missing.not_started(told, config, self._count, until) for told in members]
        totals = sums.add(told.totals for told in members)
        missing.account(totals, sum(number for number, _ in lost), sum(late for _, late in lost))
        elapsed = max(told.elapsed for told in members)
        intervals = self._histograms.result()
        latencies = figures.latencies(by_tag(intervals))
        notes = [
            missing.note(told, number, late)
            for told, (number, late) in zip(members, lost, strict=True)
        ]
        causes = together.causes(members)
        whole = any(told.whole for told in members)
        seconds = until if whole else min(elapsed, config.duration) or config.duration
        validity = together.validity(members)
        summary = Summary(
            config=config,
            environment=together.environment(
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
            rate=figures.rate(
                totals, seconds, None if config.closed_loop else config.law().mean_rate
            ),
            outcomes=figures.outcomes(totals),
            errors=totals.errors,
            replies=totals.replies,
            first_failure_at=totals.first_failure_at,
            started_before_first_failure=totals.started_before_first_failure,
            causes=causes,
            explanations=together.explanations(members),
            snapshots=together.snapshots(members),
            latency={tag: found for tag, found in latencies.items() if tag != LATENESS},
            lateness=latencies.get(LATENESS),
            kernel=self._kernel,
            generator=together.generator(members, totals, config),
            warnings=together.warnings(members, notes),
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


def _common(about: About) -> dict[str, object]:
    """Return what must be equal in all shards of a run."""
    config: dict[str, object] = msgspec.to_builtins(about.config)
    for own in ("workers", "max_in_flight", "source_addresses", "namespaces", "addresses"):
        config.pop(own, None)
    config["shard"] = about.config.shard[1]
    return config


def _worst(results: Sequence[ThresholdResult]) -> ThresholdResult:
    """Return the result of the shard that fails a gate, or of the first where all pass."""
    return next((one for one in results if not one.passed), results[0])
