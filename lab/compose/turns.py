"""Whose turn it is: containers that start together run their trials one after the other.

Compose can start a service many times but only all at once, and a trial wants a network namespace
that nobody has used, so each trial is a container: TRIALS of each arm. They agree through files in
the volume they share:

    claims/NN-ARM   taken by creating it, and locked for as long as its container lives
    done/NN-ARM     made when its trial is over

A client goes when everybody has a number, so that no container starts beside a measurement, and
everyone before it is done. One that died has lost its lock: it is passed over, and not waited for.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.analysis.records import AFTER, BEFORE
from lab.trials.plan import order
from loadgen.errors import ChurnlabError

ARMS: Final = (BEFORE, AFTER)
_POLL: Final = 0.1
START_WITHIN: Final = 120.0
"""Seconds for all containers to start; one that is missing then is passed over."""


class TurnError(ChurnlabError):
    """More containers than trials. One line."""


class Turns:
    """One container's place in the order of trials.

    Args:
        directory: the experiment's, shared by all; has the folders `claims` and `done`.
        trials: of each arm.
    """

    def __init__(self, directory: Path, trials: int) -> None:
        self._claims = directory / "claims"
        self._done = directory / "done"
        self._order = [f"{number:02d}-{arm}" for arm, number in order(ARMS, trials)]
        self._lock = -1

    def claim(self, arm: str) -> tuple[str, int]:
        """Take the next free trial of an arm; return its name and number.

        Raises:
            TurnError: when all are taken.
        """
        for name in self._order:
            number, _, of_arm = name.partition("-")
            if of_arm != arm:
                continue
            try:
                self._lock = os.open(self._claims / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
            except FileExistsError:
                continue
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            return name, int(number)
        raise TurnError(f"more containers of {arm} than trials", "leave the scale to TRIALS")

    def wait(self, name: str, within: float = START_WITHIN) -> list[str]:
        """Wait for the turn of trial `name`; return the trials that were passed over."""
        self._everybody(within)
        return self._pass(self._order[: self._order.index(name)])

    def wait_for_all(self, within: float = START_WITHIN) -> list[str]:
        """Wait until every trial is over; return those whose containers are gone without it."""
        self._everybody(within)
        return self._pass(self._order)

    def _everybody(self, within: float) -> None:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and len(list(self._claims.iterdir())) < len(self._order):
            time.sleep(_POLL)

    def _pass(self, names: Sequence[str]) -> list[str]:
        missing = []
        for name in names:
            while not (self._done / name).exists():
                if not self._alive(name) and not (self._done / name).exists():
                    missing.append(name)
                    break
                time.sleep(_POLL)
        return missing

    def _alive(self, name: str) -> bool:
        """Whether a trial's container holds its lock."""
        try:
            descriptor = os.open(self._claims / name, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def done(self, name: str) -> None:
        """Let the next one go."""
        (self._done / name).touch()
