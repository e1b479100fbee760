"""One trial: a fresh site, a tuning in force on both sides, one run of the generator.

An experiment (`lab.trials.experiment`) compares fixed arms; a sweep chooses each trial by what the
last one showed; the containers of the compose lab run one each. What a trial is, and when it is run
again, is the same for all of them and stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from lab.analysis.records import FaultDone
from lab.testbed.base import Site, SitePlan, Testbed, TestbedError, Tuned
from lab.testbed.faults import Fault
from loadgen.config import LoadOptions
from loadgen.errors import ChurnlabError
from loadgen.files import NoRoomError, no_room
from loadgen.run.rundir import read_summary
from loadgen.summary import Summary

MAX_REPETITIONS: Final = 2
"""How often a spoiled trial is run again before its arm is left with what it has."""


class TrialError(ChurnlabError):
    """A run that could not begin. One line, with what the generator said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The result of one trial."""

    summary: Summary
    directory: Path
    in_force: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Sysctls read back, by role and dotted key."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Lines of the tuning that are out of scope here, with the reason."""
    baseline: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What a fresh namespace had before the tuning, by role: the keys of `Tuned.baseline`."""
    notes: tuple[str, ...] = ()
    """What the plan asked for and this kernel could not give."""
    faults: tuple[FaultDone, ...] = ()
    """What was done to the servers, in the order of the plan."""


def suffix(repetition: int) -> str:
    """Return what a repetition's directory is called after the first one's name."""
    return f"-{repetition + 1}" if repetition else ""


def counts(summary: Summary, repetition: int) -> bool:
    """Return whether a trial is kept as its arm's: a valid one, or the last that may be tried.

    A trial that the generator or the machine spoiled is not an observation and is run again. The bound
    keeps a machine that spoils all of them from running for ever; who reads the last one still sees
    that it is not valid.
    """
    return summary.validity == "valid" or repetition >= MAX_REPETITIONS


def summary_of(run: Path, code: int, said: str, *, see: str = "") -> Summary:
    """Return the summary that a run of the generator left.

    Args:
        run: its directory.
        code: its exit code.
        said: what it printed.
        see: where all of that can be read.

    Raises:
        TrialError: when there is none; with the last line that the generator printed.
        NoRoomError: when its files found no room.
    """
    summary = read_summary(run)
    short = (
        [warning.text for warning in summary.warnings if warning.code == "unwritten"]
        if summary
        else []
    )
    if short:
        raise NoRoomError(short[0], "make room, or write elsewhere")
    if summary is None and code != 0 and (full := no_room(run.parent, run.name)) is not None:
        raise full
    if summary is None:
        lines = said.strip().splitlines()
        where = f" (see {see})" if see else ""
        reason = lines[-1] if lines else "it printed nothing"
        raise TrialError(f"loadgen ended with code {code}: {reason}{where}")
    return summary


async def observe(
    testbed: Testbed,
    plan: SitePlan,
    tuned: Tuned,
    *,
    load: LoadOptions,
    directory: Path,
    log: Path,
    faults: Sequence[Fault] = (),
) -> Observed:
    """Run `loadgen run` once at a fresh site under a tuning.

    Args:
        testbed: where.
        plan: what the site consists of.
        tuned: the tuning that both sides are under.
        load: what is asked of the generator; targets and sources are the site's.
        directory: the run directory to be.
        log: what the generator prints is appended to this file.
        faults: carried out during the run.

    Raises:
        TuningError: when the tuning cannot be applied; names the arm and the line.
        TestbedError: when the site cannot be made.
        TrialError: when the run cannot begin.
    """
    async with testbed.site(plan, tuned=tuned) as site:
        # A connection that names no source starts from the first: one alone needs no option.
        asked = replace(
            load,
            targets=site.targets,
            source_addresses=site.sources if len(site.sources) > 1 else (),
        )
        arguments = [*asked.arguments(), "--quiet", "--out", str(directory)]
        code, done = await _load(site, arguments, log, faults, directory)
    # What a site read back may be known only when it has ended.
    applied = site.applied
    return Observed(
        summary=summary_of(directory, code, _printed(log), see=str(log)),
        directory=directory,
        in_force={role: one.in_force for role, one in applied.items()},
        skipped={key: why for one in applied.values() for key, why in one.skipped.items()},
        baseline=site.baseline,
        notes=site.notes,
        faults=done,
    )


def _printed(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


async def _load(
    site: Site, arguments: Sequence[str], log: Path, faults: Sequence[Fault], directory: Path
) -> tuple[int, tuple[FaultDone, ...]]:
    """Run loadgen, with faults beside it; return its exit code and what was done."""
    if not faults:
        return await site.loadgen(arguments, log), ()
    done: dict[Fault, FaultDone] = {}

    async def strike(fault: Fault) -> None:
        try:
            at = await site.strike(fault, directory)
            done[fault] = FaultDone(fault=str(fault), at=round(at, 6))
        except TestbedError as error:
            done[fault] = FaultDone(fault=str(fault), at=None, error=str(error))

    codes: list[int] = []
    failures: list[Exception] = []
    async with trio.open_nursery() as nursery:
        for fault in faults:
            nursery.start_soon(strike, fault)
        try:
            codes.append(await site.loadgen(arguments, log))
        except Exception as error:  # noqa: BLE001 - raised below, outside of the nursery's group
            failures.append(error)
        nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]
    missed = "the run was over before"
    return codes[0], tuple(
        done.get(f, FaultDone(fault=str(f), at=None, error=missed)) for f in sorted(faults)
    )
