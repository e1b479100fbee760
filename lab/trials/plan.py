"""What an experiment is asked for, what it finds out about the load first, and whom it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from lab.analysis.length import Reach
from lab.sysctl.tuning import Tuning
from lab.testbed.base import SitePlan
from lab.testbed.faults import Fault
from loadgen.config import LoadOptions
from loadgen.summary import Summary

USUAL: Final = 5.0
"""Seconds of a trial of which nothing else is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPlan:
    """What is to be compared, and how."""

    name: str
    arms: tuple[tuple[str, Tuning], ...]
    """(`before`, tuning), (`after`, tuning); any number of others, with names fit for a folder."""
    rate: float | None
    """Arrivals per second; None to find one that this machine can carry, at most `auto_rate`."""
    auto_rate: float = 20_000.0
    duration: float | None = USUAL
    """Seconds of a trial. None: so long that at the rate that was found some arm reaches a limit, where
    one can be reached, and never shorter than `USUAL`."""
    trials: int = 10
    site: SitePlan = field(default_factory=SitePlan)
    load: LoadOptions = field(default_factory=LoadOptions)
    """How the load is made, the same for all arms; rate and duration are the plan's own."""
    calibrate_on: str | None = None
    """The arm under which a rate is found; None for the last one."""
    gates: tuple[str, ...] = ()
    """Gates between the arms, such as `latency_total: p(99) <= +5% vs before`."""
    faults: tuple[Fault, ...] = ()
    """Carried out in every trial of both arms; see `lab.testbed.faults`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The load that suits this machine."""

    rate: float
    """Arrivals per second."""
    ceiling: float
    """What the closed loop reached."""
    duration: float
    """Seconds of a trial."""
    reach: Reach | None = None
    """The limit that the duration was chosen for; None when it was not chosen."""


class ExperimentProgress(Protocol):
    """Whoever shows an experiment's progress."""

    def rehearsed(self) -> None:
        """Every arm's tuning can be applied."""

    def remarked(self, line: str) -> None:
        """Something about the arms is to be said before the first trial."""

    def calibrated(self, found: Calibration) -> None:
        """The rate was found, and the duration where it was left open."""

    def trial_started(self, arm: str, number: int, repetition: int, directory: Path) -> None:
        """A trial's run begins in `directory`."""

    def trial_ended(self, arm: str, number: int, summary: Summary, *, used: bool) -> None:
        """A trial ended; `used` is False when it was spoiled."""


def order(arms: Sequence[str], trials: int) -> list[tuple[str, int]]:
    """Return (arm, number) of every trial in turn: A B, then B A, then A B again."""
    turns = []
    for number in range(1, trials + 1):
        forward = number % 2 == 1
        turns += [(arm, number) for arm in (arms if forward else reversed(arms))]
    return turns
