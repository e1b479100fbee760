"""Carries out `lab sweep`: trials, records, the files, the exit code."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from lab.analysis import text
from lab.cli.asked import SweepOptions
from lab.cli.deliver import deliver
from lab.cli.doubts import doubts
from lab.cli.interrupt import run
from lab.cli.progress import StatusLines
from lab.sweep.cases import CASES, Case
from lab.sweep.records import Capacity, Probe, Sweep, ValidatedFigure
from lab.sweep.render import bracket, check_line, sweep_sheet, validation_sheet
from lab.sweep.run import Sweeper, SweepPlan
from lab.sweep.validate import VALIDATION, Validator
from lab.testbed.netns import NetnsTestbed
from lab.testbed.userns import ensure_privileges
from lab.tunings import builtin_names, demand_of, load
from loadgen.errors import Exit
from loadgen.files import check_results, write_whole, writing
from loadgen.summary import encode


class SweepStatus(StatusLines):
    """A line for each trial that ended: a sweep's `SweepProgress`."""

    def ceiling(self, rate: float) -> None:
        """Say what this machine can do."""
        self.say(f"this machine's closed loop: {text.count(rate)}/s")

    def tuning_started(self, tuning: str, predicted: float | None) -> None:
        """Say what is looked for."""
        expected = "any rate" if predicted is None else f"{text.count(predicted)}/s"
        self.say(f"{tuning}: predicted {expected}")

    def trial_started(self, tuning: str, rate: float) -> None:
        """Say nothing: a trial is over in seconds."""

    def trial_ended(self, tuning: str, probe: Probe) -> None:
        """Show the result of a trial."""
        why = f": {probe.why}" if probe.why else ""
        self.say(
            f"  {tuning:<16} {text.count(probe.rate):>7}/s  ok {probe.ok:>8,}  lost {probe.lost:>7,}  "
            f"{probe.ended}{why}"
        )

    def tuning_ended(self, capacity: Capacity) -> None:
        """Say what was found."""
        self.say(f"{capacity.tuning}: measured {bracket(capacity)}")


def sweep(options: SweepOptions, out: Path) -> Exit:
    """Measure capacities, write the report, show it; return the exit code.

    Raises:
        KeyboardInterrupt: when interrupted before a tuning was measured.
        ChurnlabError: TuningError, TestbedError, TrialError or WriteError, as their docstrings say.
    """
    asked, site = options.load(), options.site()
    check_results(options.json_file)
    demand = demand_of(asked, site)
    ensure_privileges()
    tunings = tuple(load(name, demand) for name in options.tunings or builtin_names())
    plan = SweepPlan(
        name=out.name,
        tunings=tunings,
        duration=options.duration,
        confirm=options.confirm,
        precision=options.precision,
        site=site,
        load=asked,
    )
    testbed = NetnsTestbed()
    testbed.check()
    progress = SweepStatus(quiet=options.quiet)
    if not options.quiet:
        for doubt in doubts(tunings):
            progress.say(doubt)
    sweeper = Sweeper(plan, testbed, out, progress)
    run(sweeper.run)
    found = sweeper.record()
    if not found.capacities:
        raise KeyboardInterrupt
    deliver(sweep_sheet(found), found, options.json_file, out)
    return _sweep_exit(found)


def _sweep_exit(found: Sweep) -> Exit:
    if not found.finished:
        return Exit.INTERRUPTED
    agreements = [capacity.agrees for capacity in found.capacities]
    if False in agreements:
        return Exit.FAILED
    return Exit.PASS if any(agreements) else Exit.INVALID


def validate(options: SweepOptions, out: Path) -> Exit:
    """Measure the model's cases, write the report, show it; return the exit code.

    Raises:
        ValueError: for an unknown situation.
        KeyboardInterrupt: when interrupted before a case was measured.
        ChurnlabError: TuningError, TestbedError, TrialError or WriteError, as their docstrings say.
    """
    cases = chosen(options.only)
    if options.only_list:
        for case in cases:
            print(f"{case.name:<22} {case.situation}: {case.what}")
        return Exit.PASS
    check_results(options.json_file)
    ensure_privileges()
    NetnsTestbed().check()
    progress = SweepStatus(quiet=options.quiet)
    validator = Validator(cases, out, lambda check: progress.say(check_line(check)))
    run(validator.run)
    found = validator.record()
    if not found.checks:
        raise KeyboardInterrupt
    with writing(out / VALIDATION):
        write_whole(out / VALIDATION, encode(found))
    deliver(validation_sheet(found), found, options.json_file, out)
    if len(found.checks) < len(cases):
        return Exit.INTERRUPTED
    return _validation_exit(found.checks)


def _validation_exit(checks: Sequence[ValidatedFigure]) -> Exit:
    agreements = [check.agrees for check in checks]
    if False in agreements:
        return Exit.FAILED
    return Exit.INVALID if None in agreements else Exit.PASS


def chosen(names: Sequence[str]) -> tuple[Case, ...]:
    """Return the named cases in their order; all of them for no name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    known = [case.name for case in CASES]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(
                f"no situation {name!r}: {guess}`lab sweep --validate --list` names them all"
            )
    return tuple(case for case in CASES if not names or case.name in names)
