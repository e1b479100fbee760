"""Arrivals that nobody started: what was due of a shard while it was dead, or not yet there. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from loadgen.accounting.messages import Totals
from loadgen.config import RunConfig
from loadgen.config.schedule import ENDLESS, Poisson
from loadgen.fleet.member import Told
from loadgen.summary import ShardNote

NOT_STARTED: Final = "not_started"
"""The reason of drops of arrivals that were due while their shard was dead or not yet there."""


def until(members: Sequence[Told], config: RunConfig) -> float:
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
    law, warmup = config.law(), config.warmup
    if isinstance(law, Poisson):
        split = max(1, workers)
        return sum(
            since <= due - warmup < until
            for worker in range(split)
            for due in law.arrivals(index + count * worker, count * split)
        )
    ours = range(index, ENDLESS, count)
    first, last = (
        bisect_left(ours, edge, key=lambda arrival: law.due(arrival) - warmup)
        for edge in (since, until)
    )
    return last - first


def not_started(told: Told, config: RunConfig, count: int, until: float) -> tuple[int, int]:
    """Return how many arrivals nobody was there to start: uncounted ones, and counted as overdue."""
    if told.state == "whole" or (told.interrupted and until < config.duration):
        return 0, 0
    due = due_in(config, told.index, count, told.workers, 0.0, until)
    late = 0
    if told.late:
        ready = min(until, told.late - config.max_lateness - config.warmup)
        late = due_in(config, told.index, count, told.workers, 0.0, ready)
    return max(0, due - told.totals.scheduled), min(late, told.totals.drops.get("overdue", 0))


def account(totals: Totals, missing: int, late: int) -> None:
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


def note(told: Told, missing: int, late: int) -> ShardNote:
    """Return what the summary says of a shard."""
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
