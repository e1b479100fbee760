"""The terminal while a fleet runs: the whole in two lines, and below it a line a shard.

Drawn once a second whatever the number of shards, and never longer than a screen: of many shards
those are shown that lose most or are not there, and the others are counted.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from loadgen.accounting import sums
from loadgen.accounting.messages import Totals
from loadgen.fleet.collector import Collector
from loadgen.run.live import Draw

_EVERY: Final = 1.0
ROWS: Final = 12
"""Shards shown at most."""


class Row(msgspec.Struct, frozen=True):
    """One shard at one moment."""

    label: str
    here: bool
    """Whether it is connected."""
    home: bool
    t: float
    totals: Totals

    @property
    def lost(self) -> int:
        """Failed attempts and dropped arrivals."""
        return self.totals.failed + self.totals.dropped


def rows_of(collector: Collector) -> list[Row]:
    """Return all shards as they are now."""
    return [
        Row(place.seat.label, place.link is not None, place.seat.home, place.t, place.totals)
        for place in collector.places
    ]


def block(t: float | None, duration: float, before: list[Row], now: list[Row]) -> str:
    """Return the text for a moment of the run.

    Args:
        t: the run's time; None before its start.
        duration: of the run.
        before: the shards when the text was last drawn; empty for the first time.
        now: the shards now.
    """
    here = sum(row.here for row in now)
    home = sum(row.home for row in now)
    there = f"{here:,} of {len(now):,} shards connected" + (f", {home:,} done" if home else "")
    if t is None:
        missing = [row.label for row in now if not row.here]
        waiting = f"; waiting for {', '.join(missing[:5])}" if missing else ""
        return f"  {there}{waiting}"
    total = sums.add(row.totals for row in now)
    older = before or now
    rates = [_rates(old, new) for old, new in zip(older, now, strict=True)]
    offered, achieved = sum(rate[0] for rate in rates), sum(rate[1] for rate in rates)
    lines = [
        f"{min(max(t, 0.0), duration):6.1f} / {duration:g} s   {there}",
        f"offered {offered:>11,.0f}/s   achieved {achieved:>11,.0f}/s   failed {total.failed:,}   "
        f"dropped {total.dropped:,}   in flight {total.unfinished:,}",
    ]
    order = sorted(range(len(now)), key=lambda i: (now[i].here or now[i].home, -now[i].lost, i))
    width = max(len(now[index].label) for index in order[:ROWS])
    for index in order[:ROWS]:
        row, (due, ok) = now[index], rates[index]
        state = "done" if row.home else "" if row.here else "not connected"
        lines.append(
            f"  {row.label:<{width}}  offered {due:>9,.0f}/s  achieved {ok:>9,.0f}/s  "
            f"failed {row.totals.failed:,}  dropped {row.totals.dropped:,}  {state}".rstrip()
        )
    if len(order) > ROWS:
        lines.append(f"  … and {len(order) - ROWS:,} more, none of which has lost more")
    return "\n".join(lines)


def _rates(old: Row, new: Row) -> tuple[float, float]:
    """Return arrivals due and connections served a second, between two looks at a shard."""
    seconds = new.t - old.t
    if seconds <= 0:
        return 0.0, 0.0
    return (
        (new.totals.scheduled - old.totals.scheduled) / seconds,
        (new.totals.ok - old.totals.ok) / seconds,
    )


class Live:
    """Shows a fleet's progress.

    Args:
        duration: of the run, in seconds.
        draw: draws a text on the terminal; None where there is none.
    """

    def __init__(self, duration: float, draw: Draw | None) -> None:
        self._duration = duration
        self._draw = draw
        self._drawn = 0.0
        self._before: list[Row] = []

    def update(self, collector: Collector, t: float | None) -> None:
        """Draw, when a second has passed since the last time."""
        if self._draw is None or time.monotonic() < self._drawn + _EVERY:
            return
        self._drawn = time.monotonic()
        now = rows_of(collector)
        self._draw(block(t, self._duration, self._before, now))
        # A shard reports once a second: what it had reported the last time is what rates are from.
        self._before = now
