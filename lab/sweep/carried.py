"""A case at a rate that the machine at hand carries, so that it says the same on a slow one. Pure.

What is counted does not hang on the rate: so many connections use up so many ports, at 2,000 a
second or at 200. So a case that counts runs slower, for longer. Where the rate is what is measured,
ports or entries are made fewer in the same proportion, and every time stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lab.sweep.cases import Case

FEWEST: Final = 40
"""Ports or entries below which one more or less is no detail any more."""
LONGEST: Final = 50.0
"""Seconds: what was closed first is out of TIME_WAIT after 60, and its port free again."""


def carried(case: Case, most: float) -> Case | None:
    """Return the case at a rate of at most `most` a second; None when it cannot be made so slow.

    Args:
        case: as it is on a fast machine.
        most: arrivals per second that the generator keeps up with; above 0.
    """
    share = most / case.rate
    if share >= 1:
        return case
    if case.ports is not None:
        ports = round(case.ports * share / 2) * 2
        if ports < FEWEST:
            return None
        rate = case.rate * ports / case.ports
        return replace(case, rate=rate, ports=ports, situation=_said(case, ports, case.ports))
    if case.margin is not None:
        margin = round(case.margin * share)
        if margin < FEWEST:
            return None
        rate = case.rate * margin / case.margin
        return replace(case, rate=rate, margin=margin, situation=_said(case, margin, case.margin))
    if case.nat_room is not None:
        room = round(case.nat_room * share)
        if room < FEWEST:
            return None
        rate = case.rate * room / case.nat_room
        return replace(case, rate=rate, nat_room=room, situation=_said(case, room, case.nat_room))
    duration = case.duration / share
    if duration > LONGEST:
        return None
    return replace(case, rate=most, duration=duration)


def _said(case: Case, now: int, before: int) -> str:
    return case.situation.replace(f"{before:,}", f"{now:,}", 1)
