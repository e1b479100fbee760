"""Two stored runs or experiments, of different days or machines, put beside each other."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lab.analysis import store
from lab.analysis.differences import Circumstances, differences
from lab.analysis.gates import RelativeGate
from lab.analysis.records import AFTER, BEFORE, Arm, Comparison, Experiment
from lab.analysis.store import Stored, StoredTrial, StoreError
from lab.analysis.text import moment
from lab.analysis.verdict import REGRESSION
from lab.report.writing import compare_stored, write_reports
from loadgen.units import spaced


class _Side(msgspec.Struct, frozen=True):
    """One of the two: an arm of something stored."""

    name: str
    """As the user wrote it."""
    stored: Stored
    arm: Arm
    trials: list[StoredTrial]


def _side(specification: str) -> _Side:
    """Return what `DIR` or `DIR:ARM` names; without an arm, `after` or the only one there is."""
    match = re.fullmatch(r"(?P<directory>.+):(?P<arm>before|after)", specification)
    directory = Path(match["directory"] if match else specification)
    stored = store.load_any(directory)
    arms = {arm.name: arm for arm in stored.experiment.arms}
    wanted = match["arm"] if match else (AFTER if AFTER in arms else BEFORE)
    if wanted not in arms:
        raise StoreError(f"{directory} has no arm {wanted!r}; it has {', '.join(arms) or 'none'}")
    trials = [trial for trial in stored.trials if trial.trial.arm == wanted]
    return _Side(specification, stored, arms[wanted], trials)


def _renamed(side: _Side, role: str, base: Path) -> tuple[Arm, list[StoredTrial]]:
    """Return an arm and its trials under the name `before` or `after`, with paths from `base`."""
    tuning = side.arm.tuning
    label = tuning if tuning == side.name else f"{tuning} ({side.name})"
    arm = msgspec.structs.replace(side.arm, name=role, tuning=label)
    trials = [
        msgspec.structs.replace(
            trial,
            trial=msgspec.structs.replace(
                trial.trial, arm=role, directory=os.path.relpath(trial.path, base)
            ),
        )
        for trial in side.trials
    ]
    return arm, trials


def _circumstances(side: _Side, other: _Side) -> Circumstances:
    """Return how one side came about; of its settings those that neither tuning sets."""
    experiment = side.stored.experiment
    summary = next((trial.summary for trial in side.trials if trial.summary is not None), None)
    single = store.is_run(side.stored.directory)
    tuned = {*side.arm.settings, *other.arm.settings}
    used = next((trial.trial.sysctls for trial in side.trials if trial.trial.used), {})
    return Circumstances(
        config=None if summary is None else summary.config,
        environment=experiment.environment if summary is None else summary.environment,
        lab=None if single else experiment.config,
        sysctls={
            f"{role} {key}": spaced(value)
            for role, settings in used.items()
            for key, value in settings.items()
            if key not in tuned
        },
        experiment=str(side.stored.directory.resolve()),
        started_at=moment(experiment.started_at),
        testbed=experiment.testbed,
    )


def _merged(first: _Side, second: _Side, out: Path | None) -> Stored:
    """Return both sides as the two arms of one experiment."""
    base = out or Path()
    sides = [
        _renamed(side, role, base)
        for side, role in zip((first, second), (BEFORE, AFTER), strict=True)
    ]
    left, right = first.stored.experiment, second.stored.experiment
    experiment = Experiment(
        name=f"{first.name} and {second.name}",
        testbed=" and ".join(dict.fromkeys((left.testbed, right.testbed))),
        started_at=left.started_at,
        finished=left.finished and right.finished,
        config=left.config,
        environment=left.environment,
        arms=[arm for arm, _ in sides],
        trials=[trial.trial for _, trials in sides for trial in trials],
    )
    return Stored(
        directory=base,
        experiment=experiment,
        trials=[trial for _, trials in sides for trial in trials],
        missing=[
            f"{side.name}: {line}" for side in (first, second) for line in side.stored.missing
        ],
    )


def compare_across(
    first: str, second: str, *, out: Path | None = None, gates: Sequence[RelativeGate] = ()
) -> Comparison:
    """Compare any two stored runs or experiments, `first` standing for before.

    Everything that differs besides the tuning is listed in `differences`, and the verdict's
    sentence begins with it. Where the load itself differs the verdict is `inconclusive`.

    Args:
        first: a directory; `DIR:before` or `DIR:after` names the arm of an experiment, else it is
            `after`.
        second: the same.
        out: where to write the reports; None writes none.
        gates: what `second` may cost against `first`.

    Raises:
        StoreError: when there is nothing to compare in one of them.
        OSError: when the reports cannot be written.
    """
    left, right = _side(first), _side(second)
    stored = _merged(left, right, out)
    found = differences(_circumstances(left, right), _circumstances(right, left))
    comparison = compare_stored(stored, differences=found, gates=gates, claim=False)
    if out is not None:
        write_reports(out, stored, comparison, REGRESSION)
    return comparison
