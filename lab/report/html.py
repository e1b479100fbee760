"""The page of a comparison: `index.html`, for a person who did not run the experiment.

The kit is `loadgen.report.page`; what is a comparison's own is here and in `assets`.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment

from lab.analysis import text
from lab.analysis.records import AFTER, BEFORE, Comparison
from lab.analysis.store import Stored, StoredTrial, unread_metrics
from lab.report import settings, view
from loadgen.report import rows
from loadgen.report.page import PAGE, frame
from loadgen.report.page.charts import plates
from loadgen.report.page.figures import Course, Ink, middle
from loadgen.report.page.frame import asset
from loadgen.report.page.series import tracks

__all__ = ["INKS", "asset", "courses", "environment", "render"]

_ASSETS: Final = Path(__file__).parent / "assets"
INKS: Final[dict[str, Ink]] = {BEFORE: "first", AFTER: "second"}
"""The colour of each arm."""
_TILES: Final = ("lost_share", "achieved_rate", "connect_p99", "connect_call_seconds")
_PEERS: Final = ("comparison.json", "summary.md", "junit.xml", "experiment.json")


def environment() -> Environment:
    """Return jinja's environment with the lab's templates, and the lab's way to write numbers."""
    found = frame.environment(_ASSETS)
    found.globals["text"] = text
    found.globals["ink_of"] = INKS
    return found


def courses(stored: Stored) -> list[Course]:
    """Return what the charts draw of each arm: the trials that count, or else all there are."""
    found = []
    for arm, ink in INKS.items():
        every = [trial for trial in stored.trials if trial.trial.arm == arm]
        trials = stored.counted(arm) or every
        summaries = [trial.summary for trial in trials]
        shown = middle(summaries)
        found.append(
            Course(
                name=arm,
                ink=ink,
                labels=[f"trial {trial.trial.number}" for trial in trials],
                summaries=summaries,
                tracks=[tracks(trial.samples()) for trial in trials],
                intervals=[trial.latencies() for trial in trials],
                shown=shown,
                events=_events(trials[shown]) if trials else [],
            )
        )
    return found


def _events(trial: StoredTrial) -> list[tuple[float, str]]:
    return [
        (done.at, f"on purpose: {done.fault.partition(' at ')[0]}")
        for done in trial.trial.faults
        if done.at is not None
    ]


def _about(drawn: list[Course]) -> str:
    """Return which trials the lines are."""
    told = ["Both arms on one time axis." if len(drawn) > 1 else ""]
    several = False
    for course in drawn:
        if course.labels:
            others = len(course.labels) - 1
            several = several or others > 0
            middle_of = f", the middle one of {others + 1} by connections lost" if others else ""
            told.append(f"The line “{course.name}” is {course.labels[course.shown]}{middle_of}.")
    told.append("The shaded band is the range of all trials." if several else "")
    return " ".join(filter(None, told))


def _links(stored: Stored, directory: Path) -> dict[str, str]:
    """Return where the page can link to for each trial: its own page, or else its folder."""
    links = {}
    for trial in stored.trials:
        place = trial.trial.directory
        if (directory / place / PAGE).is_file():
            links[place] = f"{place}/{PAGE}"
        elif (directory / place).is_dir():
            links[place] = f"{place}/"
    return links


def render(stored: Stored, comparison: Comparison, directory: Path | None = None) -> str:
    """Return the page as HTML.

    Args:
        stored: what was compared, with its samples.
        comparison: its result.
        directory: where the page will lie, to link to what lies beside it; None for the
            experiment's own.
    """
    place = directory or stored.directory
    drawn = courses(stored)
    unread = {k: v for trial in stored.trials for k, v in unread_metrics(trial.about).items()}
    experiment = stored.experiment
    tone, sign, words = view.LABELS[comparison.verdict]
    metrics = view.metric_rows(comparison)
    sysctls = settings.sysctl_rows(experiment)
    links = _links(stored, place)
    kept = {course.name: _kept(stored, course, place) for course in drawn}
    used: dict[str, Any] = next(
        (msgspec.to_builtins(summary.config) for arm in comparison.arms for summary in arm.trials),
        {},
    )
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            experiment=experiment,
            title=view.title(comparison),
            tone=tone,
            sign=sign,
            words=words,
            facts=view.facts(experiment, comparison),
            tiles=[row for row in metrics if row["name"] in _TILES],
            metrics=metrics,
            confidence=view.confidence(comparison),
            decidable=view.decidable(comparison),
            broken=view.broken(comparison, drawn),
            link=lambda arm, kept_row: kept.get(arm, {}).get(kept_row["file"], ""),
            about=_about(drawn),
            changed=[row for row in sysctls if row["changed"] or row["asked"]],
            unchanged=[row for row in sysctls if not (row["changed"] or row["asked"])],
            skipped=settings.skipped(experiment),
            predictions=view.prediction_rows(comparison),
            hosts=view.host_rows(comparison),
            warnings=view.warnings(comparison),
            trials=view.trial_rows(stored),
            links=links,
            config=rows.circumstances(msgspec.to_builtins(experiment.config)),
            used=rows.circumstances(used),
            surroundings=rows.circumstances(msgspec.to_builtins(experiment.environment)),
            unread=unread,
            zip_longest=zip_longest,
            peers=[name for name in _PEERS if name in _PEERS[:3] or (place / name).is_file()],
            **frame.drawing(plates(drawn, unread)),
        )
    )


def _kept(stored: Stored, course: Course, directory: Path) -> dict[str, str]:
    """Return where the snapshots of an arm's shown trial lie, by their names in its directory."""
    if course.summary is None:
        return {}
    trial = next(one for one in stored.trials if one.summary is course.summary)
    place = trial.trial.directory
    return {
        note.file: f"{place}/{note.file}"
        for note in course.summary.snapshots
        if (directory / place / note.file).is_file()
    }
