"""How long a load must last to reach a limit, by the capacity model. Pure.

A slow machine carries so few connections a second that a trial of the usual length ends before any
limit is near, and shows nothing. What fills up has a size, so time makes up for rate: at 600/s the
28,232 ports of a default range are gone after 47 s. It does so up to a point: ports and TIME_WAIT
sockets are given back after 60 s, and what a steady load has not filled by then it never will.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from lab.analysis.predictions import situation_of
from lab.capacity import CapacityError, LimitName, forecast
from loadgen.search import TIME_WAIT
from loadgen.summary import Summary

SPARE: Final = 1.25
"""Of the time to a limit: a share of the load comes after it, so that a loss shows."""
LONGEST: Final = SPARE * TIME_WAIT
"""Seconds after which a steady load reaches nothing new."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The first limit that a load reaches."""

    arm: str
    limit: LimitName
    at: float
    """Seconds from the start until a connection is lost to it."""

    @property
    def duration(self) -> float:
        """Whole seconds that a load should last to show it."""
        return float(math.ceil(self.at * SPARE))


def first_reach(
    summary: Summary,
    arms: Mapping[str, Mapping[str, Mapping[str, str]]],
    rate: float,
    seen: Mapping[str, bool] | None = None,
) -> Reach | None:
    """Return which limit some arm reaches first; None when none does, as far as the model knows.

    Args:
        summary: of any run at the site, such as the closed loop's that found the rate.
        arms: each one's settings, by role and dotted key.
        rate: connections a second.
        seen: what the kernel was seen to do.
    """
    config = replace(
        summary.config, rate=rate, duration=LONGEST, schedule="constant", closed_loop=False
    )
    found: list[Reach] = []
    for arm, sysctls in arms.items():
        try:
            situation = situation_of(replace(summary, config=config), sysctls, seen=seen)
        except CapacityError:
            continue
        first = None if situation is None else forecast(situation).first_loss
        if first is not None and first.lost_at is not None:
            found.append(Reach(arm, first.name, first.lost_at))
    return min(found, key=lambda reach: reach.at, default=None)
