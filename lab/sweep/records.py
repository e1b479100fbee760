"""What a sweep and a validation leave on disk: `sweep.json` and `validation.json`."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from lab.capacity import LimitName
from lab.sweep.search import TrialEnd
from loadgen.config import CloseMode
from loadgen.summary import Environment, Losses, Number, Record

SWEEP_SCHEMA: Final = "churnlab.sweep/1"
VALIDATION_SCHEMA: Final = "churnlab.validation/1"


class Probe(Losses, Record, frozen=True, kw_only=True):
    """One trial of a search."""

    rate: float
    ended: TrialEnd
    scheduled: int
    ok: int
    failed: int
    dropped: int
    why: str
    """The first cause of a loss, or why the generator was the limit; empty when clean."""
    directory: str
    """The run directory, relative to the sweep's."""


class Capacity(Record, frozen=True, kw_only=True):
    """The measured capacity of one tuning, for loads of the sweep's duration."""

    tuning: str
    settings: dict[str, str]
    predicted: float | None
    """Of a load so long; None where the model knows no limit."""
    bound_by: LimitName | None
    """What the model expects to break above that."""
    for_good: float | None
    """Predicted of a load that never ends."""
    low: float | None
    """The highest clean rate; None when every rate lost something or could not be made."""
    high: float | None
    """The lowest rate that lost something; None when none did."""
    at_least: bool
    """The machine was the limit: the capacity is `low` or more."""
    clean: int
    """Clean trials at `low`."""
    lost: int
    """Losing trials at `high`, of `tried_high`."""
    tried_high: int
    p: float | None
    """Fisher's exact test, one-sided: that `low` and `high` differ by chance alone."""
    cause: str
    """What broke at `high`, as the trials there say."""
    probes: list[Probe]
    skipped: list[str]
    """Lines of the tuning that are out of scope here, with the reason."""

    @property
    def measured(self) -> float | None:
        """The middle of the bracket; None where it has an open end."""
        if self.low is None or self.high is None or self.at_least:
            return None
        return (self.low + self.high) / 2

    @property
    def agrees(self) -> bool | None:
        """Whether the prediction lies in the bracket, or above what this machine could test.

        None when the search says nothing about it.
        """
        if self.predicted is None or self.low is None:
            return None
        if self.at_least or self.high is None:
            return True if self.predicted >= self.low else None
        return self.low * 0.95 <= self.predicted <= self.high * 1.05


class SweepConfig(Record, frozen=True, kw_only=True):
    """How a sweep was made."""

    duration: float
    """Seconds of a trial."""
    confirm: int
    """Trials at each end of the final bracket."""
    precision: float
    """Its width, as a share."""
    close: CloseMode
    servers: int
    source_addresses: int
    rtt: float
    """Seconds."""
    local_port_range: tuple[int, int] | None
    loadgen: list[str]
    """The words after `loadgen run` that all trials have in common."""


class Sweep(Record, frozen=True, kw_only=True):
    """`sweep.json`."""

    schema: Literal["churnlab.sweep/1"] = SWEEP_SCHEMA
    name: str
    started_at: str
    """RFC 3339."""
    finished: bool
    config: SweepConfig
    environment: Environment
    closed_loop_rate: float | None
    """What this machine reaches with nothing in the way: the ceiling of any search."""
    capacities: list[Capacity]


class ValidatedFigure(Record, frozen=True, kw_only=True):
    """One figure that was predicted and measured."""

    name: str
    situation: str
    """Range, reuse, delay, sources, destinations, close mode, in words."""
    quantity: str
    unit: Literal["1", "s", "/s"]
    predicted: Number
    measured: Number | None
    """None when it could not be measured; `note` says why."""
    tolerance: float
    """The greatest error that counts as agreement, as a share."""
    note: str = ""
    directory: str = ""
    never: bool = False
    """What was predicted to break did not: the prediction is wrong, and there is no figure."""

    @property
    def error(self) -> float | None:
        """By which share of the measured value the prediction was off."""
        if self.measured is None:
            return None
        if not self.measured:
            return 0.0 if not self.predicted else float("inf")
        return (self.predicted - self.measured) / self.measured

    @property
    def agrees(self) -> bool | None:
        """Whether the error is within the tolerance; None when nothing was measured."""
        if self.never:
            return False
        error = self.error
        return None if error is None else abs(error) <= self.tolerance


class Validation(Record, frozen=True, kw_only=True):
    """`validation.json`."""

    schema: Literal["churnlab.validation/1"] = VALIDATION_SCHEMA
    started_at: str
    environment: Environment
    checks: list[ValidatedFigure] = msgspec.field(default_factory=list)
