"""From a stored experiment to its comparison and the files of its reports."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from lab.analysis import compare as comparing
from lab.analysis import store
from lab.analysis.differences import Difference
from lab.analysis.gates import RelativeGate, parse_gate
from lab.analysis.predictions import predictions as predict
from lab.analysis.records import AFTER, BEFORE, Comparison, Prediction, VerdictName
from lab.analysis.store import Stored
from lab.analysis.verdict import FAILS
from lab.report import hlog, html, index, json_, junit, markdown, settings, view
from loadgen.files import write_whole, writing
from loadgen.report.page import PAGE
from loadgen.report.table import Group
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER

COMPARISON: Final = "comparison.json"
MARKDOWN: Final = "summary.md"
JUNIT: Final = "junit.xml"


def compare_stored(
    stored: Stored,
    *,
    predictions: Sequence[Prediction] = (),
    gates: Sequence[RelativeGate] = (),
    differences: Sequence[Difference] = (),
    claim: bool = True,
) -> Comparison:
    """Return the comparison of a stored experiment's two arms, `before` and `after`.

    `claim` is as in `lab.analysis.verdict.verdict_of`.
    """
    summaries = stored.summaries()
    before, after = (
        comparing.sort_trials(stored.experiment, summaries, arm) for arm in (BEFORE, AFTER)
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
        skipped=settings.skipped(stored.experiment),
        faults=view.faults(stored.experiment),
        claim=claim,
        tuned=_tuned(stored),
    )


def _tuned(stored: Stored) -> list[str]:
    """Return the roles that the second arm's tuning was applied to."""
    arm = next((one for one in stored.experiment.arms if one.name == AFTER), None)
    return list(arm.roles) if arm is not None and arm.roles else [ROLE_CLIENT, ROLE_SERVER]


def write_reports(
    directory: Path,
    stored: Stored,
    comparison: Comparison,
    fails: AbstractSet[VerdictName] = FAILS,
) -> None:
    """Write every file of the reports into `directory`.

    Args:
        directory: made if missing.
        stored: what was compared.
        comparison: its result.
        fails: the verdicts that are a failure in `junit.xml`.

    Raises:
        WriteError: when it cannot be written.
    """
    texts = {
        COMPARISON: json_.render(comparison),
        MARKDOWN: markdown.render(stored.experiment, comparison),
        JUNIT: junit.render(comparison, fails),
        PAGE: html.render(stored, comparison, directory),
        **hlog.render(stored),
    }
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(directory / name, text.encode())


def compared(
    directory: Path,
    *,
    predictions: Sequence[Prediction] | None = None,
    gates: Sequence[RelativeGate] = (),
) -> tuple[Stored, Comparison]:
    """Load an experiment and compare its arms.

    An interrupted experiment and damaged files are reported on as far as they go; what is missing
    is said in the comparison.

    Args:
        directory: the experiment's.
        predictions: None for those of the capacity model.
        gates: further ones, beside those that the experiment was asked for.

    Raises:
        StoreError: when there is no experiment of two arms in the directory.
    """
    stored = store.load(directory)
    arms = [arm.name for arm in stored.experiment.arms]
    if not {BEFORE, AFTER}.issuperset(arms):
        raise store.StoreError(
            f"{directory} has the arms {', '.join(arms)}, and not {BEFORE} and {AFTER}",
            "an ablation is reported on with the lines.json that it wrote",
        )
    asked = [parse_gate(text) for text in stored.experiment.config.gates or ()]
    if predictions is None:
        # The model knows of no faults: beside what they did its forecast would only confuse.
        model = not stored.experiment.config.faults
        predictions = predict(stored.experiment, stored.summaries()) if model else ()
    return stored, compare_stored(stored, predictions=predictions, gates=[*asked, *gates])


def write_all(
    directory: Path,
    *,
    predictions: Sequence[Prediction] | None = None,
    gates: Sequence[RelativeGate] = (),
    out: Path | None = None,
) -> Comparison:
    """Compare an experiment's arms as `compared` does, and write every report.

    Args:
        directory: the experiment's.
        predictions: None for those of the capacity model.
        gates: further ones, beside those that the experiment was asked for.
        out: where the reports go; None for the experiment's own directory.

    Raises:
        StoreError: when there is no experiment of two arms in the directory.
        WriteError: when the reports cannot be written.
    """
    stored, comparison = compared(directory, predictions=predictions, gates=gates)
    write_reports(out or directory, stored, comparison)
    return comparison


def samples(directory: Path) -> list[Group]:
    """Return the samples of every trial of an experiment, with its arm and number, for a table.

    Raises:
        StoreError: when there is no experiment in the directory.
    """
    stored = store.load(directory)
    counted = {one.path for arm in (BEFORE, AFTER) for one in stored.counted(arm)}
    return [
        (
            {
                "arm": trial.trial.arm,
                "trial": str(trial.trial.number),
                "repetition": str(trial.trial.repetition),
                "counted": "yes" if trial.path in counted else "no",
            },
            trial.samples(),
        )
        for trial in stored.trials
    ]


def reports_index(parent: Path) -> Path:
    """Write `index.html` into `parent`, listing the experiments kept under it; return its path.

    Raises:
        WriteError: when it cannot be written.
    """
    path = parent / PAGE
    with writing(path):
        write_whole(path, index.render(parent).encode())
    return path


def refreshed_index(directory: Path) -> None:
    """Bring the list of experiments up to date, where `directory` lies in a folder that has one."""
    parent = directory.resolve().parent
    if (parent / PAGE).is_file():
        reports_index(parent)
