"""How far each node's clock is from the control machine's, and how well that is known. Pure.

Control asks, the shard answers with its clocks, control notes when it asked and when it was
answered. The shard read its clocks somewhere between the two; the middle is the best guess, and it
is wrong by half of the round trip at most, whatever the network does in either direction
(D. L. Mills, RFC 5905 §8). Of several answers the quickest says most, so one is enough.

A start is agreed on CLOCK_MONOTONIC, which no administrator sets and no time server steps; the wall
clock's offset is shown to people, for it is what their logs are stamped with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from loadgen.summary import Clock
from loadgen.units import format_duration

AGREED: Final = 0.005
"""Seconds. Clocks that are not known to within this do not agree."""


class Answer(msgspec.Struct, frozen=True):
    """One question to a shard and its answer; seconds."""

    asked: float
    """Control's CLOCK_MONOTONIC."""
    answered: float
    """The same when the answer was there."""
    monotonic: float
    """The shard's CLOCK_MONOTONIC."""
    wall: float
    """The shard's wall clock less control's, at about the same moment."""

    @property
    def uncertainty(self) -> float:
        """Half of the round trip."""
        return (self.answered - self.asked) / 2

    @property
    def shift(self) -> float:
        """What the shard's CLOCK_MONOTONIC shows more than control's."""
        return self.monotonic - (self.asked + self.answered) / 2


def best(answers: Iterable[Answer]) -> Answer | None:
    """Return the answer that says most, the quickest; None when there is none."""
    return min(answers, key=lambda answer: answer.uncertainty, default=None)


def clock(before: Answer, after: Answer | None) -> Clock:
    """Return what is said of a node's clock.

    Args:
        before: the best answer before the start.
        after: the best answer of the run's end, if any came.
    """
    return Clock(
        offset=before.wall,
        uncertainty=before.uncertainty,
        drift=None if after is None else after.shift - before.shift,
    )


def disagreements(clocks: Iterable[tuple[str, Clock]]) -> list[tuple[str, str, str]]:
    """Return (code, text, remedy) of what keeps the clocks of a fleet from agreeing.

    Args:
        clocks: each shard's label and clock.
    """
    found = []
    known = list(clocks)
    vague = [(label, one) for label, one in known if one.uncertainty > AGREED]
    if vague:
        label, worst = max(vague, key=lambda pair: pair[1].uncertainty)
        found.append(
            (
                "clock_uncertain",
                f"the clocks of {len(vague)} of {len(known)} shards are known only to within more "
                f"than {format_duration(AGREED)}, that of {label} to within "
                f"{format_duration(worst.uncertainty)}: its load may be shifted by as much",
                "a quicker or quieter way between control machine and nodes",
            )
        )
    # Two readings differ by what both are uncertain by; only what is beyond that is the clocks'.
    moved = [
        (label, one)
        for label, one in known
        if one.drift is not None and abs(one.drift) > AGREED + one.uncertainty
    ]
    if moved:
        label, worst = max(moved, key=lambda pair: abs(pair[1].drift or 0.0))
        found.append(
            (
                "clock_drift",
                f"the clock of {label} moved by {format_duration(abs(worst.drift or 0.0))} against "
                "control's during the run",
                "the shards were not in step to the end; see to that machine's clock source",
            )
        )
    return found
