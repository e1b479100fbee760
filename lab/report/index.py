"""`reports/index.html`: the experiments kept in a folder, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from lab.analysis import text
from lab.analysis.records import ExperimentConfig, VerdictName
from lab.report.html import environment
from lab.report.sheet import LISTED, Listed
from lab.report.view import LABELS
from loadgen.files import ReadError, read_record
from loadgen.report.page import PAGE
from loadgen.report.page.frame import style
from loadgen.report.rows import said
from loadgen.summary import Environment

_MOST: Final = 64 << 20
"""Bytes of a comparison: it has the summaries of all trials in it."""


class _Arm(msgspec.Struct):
    tuning: str


class _Comparison(msgspec.Struct):
    """As much of a `comparison.json` as the list shows."""

    arms: list[_Arm]
    verdict: VerdictName
    sentence: str


class _Experiment(msgspec.Struct):
    started_at: str = ""
    config: ExperimentConfig = ExperimentConfig()
    environment: Environment = Environment()


def _about(experiment: _Experiment) -> Iterator[str]:
    config = experiment.config
    asked = {"rate": config.rate, "duration": config.duration}
    told = [said(key, value) for key, value in asked.items() if value is not None]
    if told:
        yield " for ".join(told)
    if experiment.environment.kernel:
        yield f"kernel {experiment.environment.kernel}"


def _entry(folder: Path) -> dict[str, str]:
    """Return one line of the list; a damaged experiment is listed as such."""
    entry = {"folder": folder.name, "name": folder.name, "started_at": "", "when": ""}
    entry["about"] = folder.name
    try:
        listed = read_record(folder / LISTED, Listed)
        shown: dict[str, str] = msgspec.to_builtins(listed)
        return entry | shown | {"when": text.moment(listed.started_at)}
    except ReadError:
        pass
    try:
        experiment = read_record(folder / "experiment.json", _Experiment)
        entry["started_at"] = experiment.started_at
        entry["when"] = text.moment(experiment.started_at)
        entry["about"] = " · ".join([folder.name, *_about(experiment)])
    except ReadError:
        pass
    try:
        found = read_record(folder / "comparison.json", _Comparison, _MOST)
    except ReadError as error:
        return entry | {
            "tone": "warn",
            "sign": "?",
            "words": "Cannot be read",
            "sentence": f"comparison.json {error.reason}. Rebuild it with lab report {folder.name}",
        }
    tone, sign, words = LABELS[found.verdict]
    return entry | {
        "name": " against ".join(arm.tuning for arm in reversed(found.arms)),
        "tone": tone,
        "sign": sign,
        "words": words,
        "sentence": found.sentence,
    }


def render(parent: Path) -> str:
    """Return the list of the experiments under `parent` as HTML."""
    folders = [path.parent for path in parent.glob(f"*/{PAGE}")]
    entries = sorted(
        (_entry(folder) for folder in folders),
        key=lambda entry: (entry["started_at"], entry["folder"]),
        reverse=True,
    )
    template = environment().get_template("index.html.j2")
    return template.render(entries=entries, style=style(), policy="", payload="", scripts=[])
