"""Reports: peers that each turn the same comparison into one text.

`write_all` rebuilds every file of an experiment's reports from its run directories.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from lab import compare as comparing
from lab import store
from lab.gates import RelativeGate, parse_gate
from lab.predictions import predictions as predict
from lab.records import Arm, Comparison, Prediction
from lab.report import html, index, json_, junit, markdown, view
from lab.store import Stored, StoredTrial, StoreError

PAGE: Final = "index.html"
COMPARISON: Final = "comparison.json"
MARKDOWN: Final = "summary.md"
JUNIT: Final = "junit.xml"


def compare_stored(
    stored: Stored,
    *,
    predictions: Sequence[Prediction] = (),
    gates: Sequence[RelativeGate] = (),
    differences: Sequence[comparing.Difference] = (),
) -> Comparison:
    """Return the comparison of a stored experiment's two arms, `before` and `after`."""
    summaries = stored.summaries()
    before, after = (
        comparing.sort_trials(stored.experiment, summaries, arm) for arm in ("before", "after")
    )
    return comparing.compare(
        stored.experiment.name,
        before,
        after,
        predictions=predictions,
        repeated=comparing.repetitions(stored.experiment, summaries),
        missing=stored.missing,
        differences=differences,
        gates=gates,
        skipped=view.skipped(stored.experiment),
    )


def write_reports(directory: Path, stored: Stored, comparison: Comparison) -> None:
    """Write the four report files into `directory`.

    Raises:
        OSError: when it cannot be written.
    """
    texts = {
        COMPARISON: json_.render(comparison),
        MARKDOWN: markdown.render(stored.experiment, comparison),
        JUNIT: junit.render(comparison),
        PAGE: html.render(stored, comparison),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")


def write_all(
    directory: Path,
    *,
    predictions: Sequence[Prediction] | None = None,
    gates: Sequence[RelativeGate] = (),
) -> Comparison:
    """Load an experiment, compare its arms, write every report into it; return the comparison.

    An interrupted experiment and damaged files are reported on as far as they go; what is missing
    is said in the reports.

    Args:
        directory: the experiment's.
        predictions: None for those of the capacity model.
        gates: further ones, beside those that the experiment was asked for.

    Raises:
        StoreError: when there is no experiment in the directory.
        OSError: when the reports cannot be written.
    """
    stored = store.load(directory)
    asked = [parse_gate(text) for text in stored.experiment.config.get("gates", ())]
    if predictions is None:
        predictions = predict(stored.experiment, stored.summaries())
    comparison = compare_stored(stored, predictions=predictions, gates=[*asked, *gates])
    write_reports(directory, stored, comparison)
    return comparison


def _select(specification: str) -> tuple[Stored, str]:
    """Return what `DIR` or `DIR:ARM` names, and the arm: `after`, or the only one there is."""
    match = re.fullmatch(r"(?P<directory>.+):(?P<arm>before|after)", specification)
    directory = Path(match["directory"] if match else specification)
    stored = store.load_any(directory)
    names = [arm.name for arm in stored.experiment.arms]
    arm = match["arm"] if match else ("after" if "after" in names else "before")
    if arm not in names:
        raise StoreError(f"{directory} has no arm {arm!r}; it has {', '.join(names) or 'none'}")
    return stored, arm


def _as_arm(
    stored: Stored, arm: str, role: str, where: str, base: Path
) -> tuple[Arm, list[StoredTrial]]:
    """Return one arm of a stored experiment under the name `before` or `after`."""
    found = next(known for known in stored.experiment.arms if known.name == arm)
    label = found.tuning if found.tuning == where else f"{found.tuning} ({where})"
    renamed = msgspec.structs.replace(found, name=role, tuning=label)
    trials = [
        msgspec.structs.replace(
            trial,
            trial=msgspec.structs.replace(
                trial.trial, arm=role, directory=os.path.relpath(trial.path, base)
            ),
        )
        for trial in stored.trials
        if trial.trial.arm == arm
    ]
    return renamed, trials


def _circumstances(stored: Stored, trials: list[StoredTrial]) -> comparing.Circumstances:
    """Return configuration and environment of the runs themselves, which every kind has."""
    summary = next((trial.summary for trial in trials if trial.summary is not None), None)
    if summary is None:
        return stored.experiment.config, stored.experiment.environment
    return summary.config, summary.environment


def compare_across(first: str, second: str, *, out: Path | None = None) -> Comparison:
    """Compare any two stored runs or experiments, `first` standing for before.

    Everything that differs besides the tuning is listed in `differences`, and the verdict's
    sentence begins with it. Where the load itself differs the verdict is `inconclusive`.

    Args:
        first: a directory; `DIR:before` or `DIR:after` names the arm of an experiment, else it is
            `after`.
        second: the same.
        out: where to write the reports; None writes none.

    Raises:
        StoreError: when there is nothing to compare in one of them.
        OSError: when the reports cannot be written.
    """
    picked = [_select(first), _select(second)]
    sides = [
        _as_arm(stored, arm, role, where, out or Path())
        for (stored, arm), role, where in zip(
            picked, ("before", "after"), (first, second), strict=True
        )
    ]
    (left, _), (right, _) = picked
    told = [
        _circumstances(stored, trials)
        for (stored, _), (_, trials) in zip(picked, sides, strict=True)
    ]
    testbeds = left.experiment.testbed, right.experiment.testbed
    differences = comparing.differences(*told)
    if testbeds[0] != testbeds[1]:
        differences.append(comparing.Difference("testbed", *testbeds, load=False))
    experiment = msgspec.structs.replace(
        left.experiment,
        name=f"{first} and {second}",
        testbed=" and ".join(dict.fromkeys(testbeds)),
        arms=[arm for arm, _ in sides],
        trials=[trial.trial for _, trials in sides for trial in trials],
        baseline={},
    )
    merged = Stored(
        directory=out or left.directory,
        experiment=experiment,
        trials=[trial for _, trials in sides for trial in trials],
        missing=[
            f"{name}: {line}"
            for name, stored in ((first, left), (second, right))
            for line in stored.missing
        ],
    )
    comparison = compare_stored(merged, differences=differences)
    if out is not None:
        write_reports(out, merged, comparison)
    return comparison


def reports_index(parent: Path) -> Path:
    """Write `index.html` into `parent`, listing the experiments kept under it; return its path.

    Raises:
        OSError: when it cannot be written.
    """
    path = parent / PAGE
    path.write_text(index.render(parent), encoding="utf-8")
    return path
