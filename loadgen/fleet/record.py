"""`fleet.json`: what control must know to go on with a fleet's run, or to report on it. Pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from loadgen.summary import Clock

FILE: Final = "fleet.json"
SHARDS: Final = "shards"
"""The folder of the shards' run directories."""

Kind = Literal["swarm", "wait"]


class Seat(msgspec.Struct, kw_only=True):
    """One of the fleet's places, and who holds it."""

    index: int
    """From 0."""
    seat: str
    """What the shard calls its place: a node's id, a task's slot, a job's index."""
    node: str = ""
    instance: str = ""
    """The process that holds it; empty until one has come."""
    said: str = ""
    """What went wrong with it, in one line."""
    clock: Clock | None = None
    home: bool = False
    """Whether all of its files are here."""

    @property
    def directory(self) -> str:
        """Its run directory, from that of the fleet."""
        plain = "".join(char if char.isalnum() or char in "-_." else "-" for char in self.node)
        name = f"{self.index + 1:03d}" + (f"-{plain[:60]}" if plain else "")
        return f"{SHARDS}/{name}"

    @property
    def label(self) -> str:
        """How lines name it."""
        return f"shard {self.index + 1}" + (f" on {self.node}" if self.node else "")


class Fleet(msgspec.Struct, kw_only=True):
    """The fleet of one run."""

    schema: str = "churnlab.fleet/1"
    kind: Kind
    run: str
    """What the run's things on an engine are called."""
    arguments: list[str]
    """Of `loadgen run`, for the shards."""
    thresholds: list[str]
    abort_on_fail: bool = False
    seats: list[Seat]
    host: str
    """Where shards reach control."""
    port: int
    seconds: float
    """How long a shard's run may take from the agreed start, with all that it waits for."""
    duration: float
    start: float | None = None
    """The agreed start, in seconds since the epoch on control's clock; None before there is one."""
    interrupted: bool = False
    """Whether the user ended it."""
    aborted_by: str = ""
    """The threshold that ended it early."""
    ended: bool = False
