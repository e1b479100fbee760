"""Carries out `lab ablate`: the lines, the interleaved trials, the report, the exit code."""

from __future__ import annotations

from pathlib import Path

from lab.ablate.arms import contrasts, trials_needed, tuning_of
from lab.ablate.lines import look, wants_tracking
from lab.ablate.records import ABLATION, ALL, LINES, Ablation, TuningLines
from lab.ablate.render import ablation_sheet
from lab.ablate.weigh import weigh
from lab.analysis.exit import EXIT_OF_VERDICT
from lab.analysis.store import StoreError
from lab.analysis.store import load as load_experiment
from lab.cli.asked import AblateOptions
from lab.cli.deliver import deliver
from lab.cli.doubts import doubts
from lab.cli.interrupt import run
from lab.cli.progress import ExperimentStatus
from lab.sysctl.tuning import Tuning
from lab.testbed.base import TestbedError
from lab.testbed.netns import NetnsTestbed
from lab.testbed.processes import tool
from lab.testbed.tracked import TrackedTestbed
from lab.testbed.userns import ensure_privileges
from lab.trials.experiment import Conductor
from lab.trials.plan import USUAL, ExperimentPlan
from lab.tunings import demand_of, load
from loadgen.cli.group import say, tell
from loadgen.errors import Exit
from loadgen.files import ReadError, check_results, read_record, write_whole, writing
from loadgen.summary import encode
from loadgen.units import format_duration

_OVERHEAD = 1.2
"""Seconds that a trial takes beside its load, about."""


def execute(options: AblateOptions, out: Path) -> Exit:
    """Run the ablation, write its report, show it; return the exit code.

    Raises:
        ValueError: for an option that cannot be.
        KeyboardInterrupt: when interrupted before the first trial ended.
        ChurnlabError: TuningError, TestbedError, ExperimentError, TrialError, NamespaceError or
            WriteError, as their docstrings say.
    """
    asked, site = options.load(), options.site()
    check_results(options.json_file)
    ensure_privileges()
    tuning = load(options.after, demand_of(asked, site))
    tracked = _tracked(options.conntrack, tuning)
    lines = look(tuning, options.only, tracked=tracked)
    if len(lines.arms) == 1 or not lines.arms[ALL]:
        for line in lines.lines:
            tell(f"{line.key} = {line.value}: {line.reason}")
        tell(f"no line of {tuning.name} can change anything in a namespace here")
        return Exit.INVALID
    plan = ExperimentPlan(
        name=out.name,
        arms=tuple((arm, tuning_of(tuning, arm, keys)) for arm, keys in lines.arms.items()),
        rate=options.number,
        duration=options.duration,
        trials=options.trials or trials_needed(len(contrasts(lines.lines))),
        site=site,
        load=asked,
        calibrate_on=ALL,
    )
    testbed = TrackedTestbed() if tracked else NetnsTestbed()
    testbed.check()
    if not options.quiet:
        _say_size(plan, lines)
    with ExperimentStatus(plan, doubts([tuning]), quiet=options.quiet) as progress:
        conductor = Conductor(plan, testbed, out, progress)
        with writing(out / LINES):
            write_whole(out / LINES, encode(lines))
        finished = run(conductor.run)
    if not finished and not any(out.glob("trials/*/summary.json")):
        raise KeyboardInterrupt
    found = report(out, options.json_file)
    return EXIT_OF_VERDICT[found.verdict] if finished else Exit.INTERRUPTED


def _tracked(asked: str, tuning: Tuning) -> bool:
    """Return whether the servers are to track their connections.

    Raises:
        TestbedError: when it was asked for and cannot be.
    """
    if asked == "off" or (asked == "auto" and not wants_tracking(tuning)):
        return False
    try:
        for name in ("nft", "conntrack"):
            tool(name)
    except TestbedError as error:
        if asked == "on":
            raise
        say(f"connections are not tracked: {error}", "note")
        return False
    return True


def _say_size(plan: ExperimentPlan, lines: TuningLines) -> None:
    """Say how long it will take, before it begins."""
    idle = [line.key for line in lines.lines if line.state != "active"]
    duration = plan.duration or USUAL
    seconds = len(plan.arms) * plan.trials * (duration + _OVERHEAD)
    tell(
        f"{len(plan.arms)} arms, {plan.trials} trials of {format_duration(duration)} each: "
        f"about {format_duration(seconds)}",
        err=True,
    )
    if idle:
        tell(f"no trial for what cannot act here: {', '.join(idle)}", err=True)


def report(directory: Path, json_file: str | None = None, out: Path | None = None) -> Ablation:
    """Rebuild an ablation's report from its run directories, show it, and return the record.

    Args:
        directory: the ablation's.
        json_file: where the record goes, too; `-` is stdout.
        out: where the report goes; None for the directory itself.

    Raises:
        StoreError: when there is no ablation in the directory.
        WriteError: when a file cannot be written.
    """
    try:
        lines = read_record(directory / LINES, TuningLines)
    except ReadError as error:
        raise StoreError(str(error)) from None
    stored = load_experiment(directory)
    found = weigh(stored.experiment, lines, stored.summaries(), stored.missing)
    trials = {
        arm: [trial.summary for trial in stored.counted(arm) if trial.summary is not None]
        for arm in lines.arms
    }
    target = out or directory
    with writing(target / ABLATION):
        write_whole(target / ABLATION, encode(found))
    sheet = ablation_sheet(found, trials, stored.experiment.environment)
    deliver(sheet, found, json_file, target)
    return found
