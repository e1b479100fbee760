"""Faults: what an experiment does to a server on purpose, at a chosen second of every trial. Pure.

    kill server-1 at 2s          SIGKILL: connections are reset, new ones refused
    restart server-1 at 2s       killed and started again at once, empty, at the same address
    pause server-1 at 2s         stopped in its tracks: the kernel still accepts, nobody answers
    resume server-1 at 3s        goes on after a pause
    disconnect server-1 at 2s    off the network: nothing it says arrives any more
    reconnect server-1 at 3s     back on the network

Times count from the moment the first arrival of the trial is due. Both arms get the same faults, so
a verdict is about the tuning under them. A testbed carries them out (`Site.strike`); what was done,
and when, is on record with the trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from loadgen.units import format_duration, parse_duration, whole

Action = Literal["kill", "restart", "pause", "resume", "disconnect", "reconnect"]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
_TARGET: Final = "server-"
_SHAPE: Final = "write ACTION server-N at TIME, such as 'kill server-1 at 2s'"
_UNDOES: Final[dict[Action, Action]] = {"resume": "pause", "reconnect": "disconnect"}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One deed of one trial."""

    at: float
    """Seconds after the first arrival was due, 0 or more."""
    server: int
    """From 0, in the order of the site's targets; people count from 1."""
    action: Action

    def __str__(self) -> str:
        """Return the form that `parse_fault` reads."""
        return f"{self.action} {_TARGET}{self.server + 1} at {self.at:g}s"


def parse_fault(text: str) -> Fault:
    """Return the fault that `ACTION server-N at TIME` means.

    Raises:
        ValueError: when it is not a fault; the message names the offending word.
    """
    words = text.split()
    if len(words) != 4 or words[2] != "at":
        raise ValueError(f"{text!r} is not a fault: {_SHAPE}")
    verb, target, _, moment = words
    action = next((known for known in ACTIONS if known == verb), None)
    if action is None:
        raise ValueError(f"{text!r}: {verb!r} is not one of {', '.join(ACTIONS)}")
    number = whole(target.removeprefix(_TARGET)) if target.startswith(_TARGET) else None
    if not number:
        raise ValueError(f"{text!r}: {target!r} is not a server: write server-1, server-2, …")
    at = parse_duration(moment)
    if not 0 <= at < float("inf"):
        raise ValueError(f"{text!r}: a trial has no moment {moment!r}")
    return Fault(at, number - 1, action)


def check_faults(faults: Iterable[Fault], *, servers: int, duration: float) -> tuple[Fault, ...]:
    """Return the faults in the order of time, once they fit a trial.

    Raises:
        ValueError: for a server that the site does not have, a moment after the trial's end, or a
            resume or reconnect of what was not paused or disconnected before.
    """
    ordered = tuple(sorted(faults))
    for place, fault in enumerate(ordered):
        if fault.server >= servers:
            has = "server-1" if servers == 1 else f"server-1 to server-{servers}"
            raise ValueError(f"--fault '{fault}': the site has only {has}; raise --servers")
        if fault.at >= duration:
            raise ValueError(
                f"--fault '{fault}': a trial is over after {format_duration(duration)}; "
                "raise --duration"
            )
        if fault.action in _UNDOES and not _undoes(fault, ordered[:place]):
            raise ValueError(
                f"--fault '{fault}': nothing to {fault.action}; add an earlier "
                f"'{_UNDOES[fault.action]} {_TARGET}{fault.server + 1} at …'"
            )
    return ordered


def _undoes(fault: Fault, earlier: Sequence[Fault]) -> bool:
    """Whether the last fault of the pair before this one is the one to undo."""
    pair = {fault.action, _UNDOES[fault.action]}
    last = [one.action for one in earlier if one.server == fault.server and one.action in pair]
    return bool(last) and last[-1] != fault.action
