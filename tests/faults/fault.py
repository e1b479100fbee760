"""What a fault of the suite is, and the two ways in which it is provoked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.faults.deeds import Deed, at, memcached, nothing
from tests.faults.stage import Stage

When = Literal["during", "before"]
MOMENT: Final = 0.3
"""Seconds into the run, at which a fault comes that comes during it."""

QUICK = ("--rate", "300", "--duration", "1", "--timeout", "0.6")
"""Each attempt sends one SYN: it is over before the second is due."""
PATIENT = ("--rate", "100", "--duration", "1", "--timeout", "1.5")
"""Each attempt sends its SYN twice."""

STRICT = ("--max-lateness", "0.1")
"""Where dropped arrivals are what the fault is about."""


@dataclass(frozen=True)
class Fault:
    """One fault: how it is provoked, and what must come of it."""

    name: str
    injected: str
    """What is done, for people."""
    causes: tuple[str, ...]
    """The causes to be named, and no others; those of a run with two faults in any order."""
    also: tuple[str, ...] = ()
    """What the same deed brings with it in some runs, and is as true: allowed, not asked for."""
    serve: Deed = memcached
    """Starts the server, after `prepare`."""
    prepare: Deed = nothing
    deed: Deed = nothing
    """What makes the fault, once the server is there."""
    before: Deed | None = None
    """The same before the load begins, where that takes something else."""
    during: Deed | None = None
    """The same during the load, where that takes something else than `deed` in the middle of it."""
    approach: Deed = nothing
    """Where the load itself makes the fault during the run: brings the host near to it."""
    once: str = ""
    """Why it is provoked in one way only."""
    load: tuple[str, ...] = QUICK
    prefix: tuple[str, ...] = ()
    """A command to run the load under, where the fault comes before it."""
    middle: str = ""
    """The role of a box between client and server."""
    known_as: str = ""
    """The role under which that box is watched, where it is another."""
    watched: tuple[str, ...] | None = None
    """The roles that are watched beside the client; None for all."""
    fails: bool = True
    """Whether connections fail; else a limit is reached without failing anyone, or nothing is."""
    alone: bool = False
    """Needs the CPUs for itself."""

    @property
    def whens(self) -> tuple[When, ...]:
        """The ways in which it is provoked."""
        return ("during",) if self.once else ("during", "before")

    def stage(self, directory: Path) -> Stage:
        """Return the stage that it is played on."""
        return Stage(directory, middle=self.middle, watched=self.watched, known_as=self.known_as)

    def run(self, stage: Stage, when: When) -> None:
        """Provoke it, up to the start of the load and what happens during it."""
        self.prepare(stage)
        self.serve(stage)
        if when == "before":
            (self.before or self.deed)(stage)
        else:
            self.approach(stage)
        stage.load(*self.load, prefix=self.prefix if when == "before" else ())
        if when == "during":
            (self.during or at(MOMENT, self.deed))(stage)


@dataclass(frozen=True)
class Case:
    """A fault, provoked in one of its ways."""

    fault: Fault
    when: When

    @property
    def name(self) -> str:
        """The fault's name, and `, before` where that is when it came."""
        return self.fault.name + (", before" if self.when == "before" else "")
