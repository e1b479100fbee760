"""What `lab plan` found out. Schema `churnlab.plan/1`."""

from __future__ import annotations

from typing import Final, Literal

from lab.capacity import Forecast, Load
from loadgen.summary import Record

PLAN_SCHEMA: Final = "churnlab.plan/1"

Side = Literal["client", "server", "both"]


class PlannedLine(Record, frozen=True, kw_only=True):
    """One setting that has to change."""

    key: str
    value: str
    was: str | None
    """Before; None when it is not known."""
    why: str
    price: str
    side: Side
    """Whose namespace needs it; a tuning's file goes to both."""
    scope: Literal["namespace", "host"]
    may_fail: bool = False
    """The host's, or a module's that may not be loaded: written `-key`."""


class Plan(Record, frozen=True, kw_only=True):
    """What has to change so that a load holds."""

    schema: Literal["churnlab.plan/1"] = PLAN_SCHEMA
    tuning: str
    kernel: str
    load: Load
    """Rate, duration, close mode, addresses, …: what the forecasts are for."""
    now: Forecast
    """Under the tuning in question."""
    lines: list[PlannedLine]
    """What has to change; empty when nothing has, or when no setting helps."""
    then: Forecast
    """With these lines."""
    headroom: float
    """The lines are for so much more than the asked rate, as a factor."""
    bytes_now: float
    """Memory of TIME_WAIT sockets, conntrack entries and their hash table in the long run."""
    bytes_then: float
    """The same with the lines."""
    sources_needed: int
    """Client addresses with which the lines are enough, headroom included; the asked number when
    they are already."""
    program: list[str]
    """What the application can do instead: one sentence each."""
    notes: list[str]

    @property
    def enough(self) -> bool:
        """Whether the lines hold the rate with headroom."""
        return self.then.holds and self.sources_needed <= self.load.sources
