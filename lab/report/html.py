"""The page: one offline `index.html` for a person who did not run the experiment.

Everything is inside the one file: style, script, uPlot and the data. A content security policy
forbids the page all network access and every script but its own two, named by their hashes, so
that text from a tuning file or a host name stays text even if it were not escaped; it is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lab import text
from lab.compare import flatten
from lab.records import Comparison
from lab.report import figures, view
from lab.report.figures import ArmData, Figure, Plates
from lab.report.series import tracks
from lab.store import Stored, unread_metrics

ASSETS: Final = Path(__file__).parent / "assets"

_TILES: Final = ("lost_share", "achieved_rate", "connect_p99", "connect_call_seconds")


def arm_data(stored: Stored) -> list[ArmData]:
    """Return what the charts draw of each arm: the trials that count, or else all there are."""
    arms = []
    for arm in stored.experiment.arms[:2]:
        every = [trial for trial in stored.trials if trial.trial.arm == arm.name]
        trials = stored.counted(arm.name) or every
        summaries = [trial.summary for trial in trials]
        arms.append(
            ArmData(
                name=arm.name,
                tuning=arm.tuning,
                labels=[f"trial {trial.trial.number}" for trial in trials],
                summaries=summaries,
                tracks=[tracks(trial.samples()) for trial in trials],
                intervals=[trial.latencies() for trial in trials],
                shown=figures.middle_trial(summaries),
            )
        )
    return arms


def _rounded(values: Iterable[float | None], *, positive: bool) -> list[float | None]:
    """Return values with 4 significant digits; on a logarithmic axis nothing below zero."""
    return [
        None if value is None or (positive and value <= 0) else float(f"{value:.4g}")
        for value in values
    ]


def _payload(plates: Plates) -> Markup:
    """Return the charts' data as JSON that is safe inside a script element."""
    drawn = [
        {
            "id": figure.id,
            "axis": figure.axis,
            "log": figure.log,
            "steps": figure.steps,
            "quantity": figure.quantity,
            "x": figure.x,
            "lines": [
                {
                    "arm": line.arm,
                    "dash": line.dash,
                    "values": _rounded(line.values, positive=figure.log),
                    "low": _rounded(line.low, positive=figure.log),
                    "high": _rounded(line.high, positive=figure.log),
                }
                for line in figure.lines
            ],
        }
        for figure in (*plates.time, *plates.percentile)
    ]
    marks = [{"key": mark.key, "t": mark.t, "arm": mark.arm} for mark in plates.markers]
    raw = msgspec.json.encode({"figures": drawn, "markers": marks}).decode()
    for sign in "<>&\u2028\u2029":
        raw = raw.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(raw)  # noqa: S704 - every sign that HTML could act on was just replaced


def _figure_context(figure: Figure) -> dict[str, Any]:
    header, rows = figures.table(figure)
    return {"figure": figure, "header": header, "rows": rows}


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def environment() -> Environment:
    """Return jinja's environment: every value is escaped unless it is our own markup."""
    return Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def asset(name: str) -> Markup:
    """Return one of our own files, to stand in the page as it is."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))  # noqa: S704 - our own files


def render(stored: Stored, comparison: Comparison) -> str:
    """Return the page as HTML."""
    arms = arm_data(stored)
    unread = {k: v for trial in stored.trials for k, v in unread_metrics(trial.run).items()}
    plates = figures.plates(arms, unread)
    experiment = stored.experiment
    tone, sign, words = view.LABELS[comparison.verdict]
    rows = view.metric_rows(comparison)
    # The MIT licence asks to go with every copy, and each page is one.
    licence = Markup("/*!\n{}*/\n").format(asset("uPlot.LICENSE"))
    scripts = {
        "uPlot": licence + asset("uPlot.iife.min.js"),
        "page": asset("page.js"),
    }
    sysctls = view.sysctl_rows(experiment)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            comparison=comparison,
            experiment=experiment,
            tone=tone,
            sign=sign,
            words=words,
            facts=view.facts(experiment, comparison),
            tiles=[row for row in rows if row["name"] in _TILES],
            metrics=rows,
            confidence=view.confidence(comparison),
            decidable=view.decidable(comparison),
            broken=view.broken(comparison),
            time_figures=[_figure_context(figure) for figure in plates.time],
            percentile_figures=[_figure_context(figure) for figure in plates.percentile],
            markers=plates.markers,
            absent=plates.absent,
            shown=[
                (arm.name, arm.labels[arm.shown], len(arm.labels)) for arm in arms if arm.labels
            ],
            changed=[row for row in sysctls if row["changed"] or row["asked"]],
            unchanged=[row for row in sysctls if not (row["changed"] or row["asked"])],
            skipped=view.skipped(experiment),
            predictions=view.prediction_rows(comparison),
            warnings=view.warnings(comparison),
            trials=view.trial_rows(stored),
            config=flatten(experiment.config),
            environment=flatten(experiment.environment),
            unread=unread,
            text=text,
            zip_longest=zip_longest,
            style=asset("uPlot.min.css") + asset("page.css"),
            scripts=scripts,
            policy=" ".join(f"'{_digest(str(script))}'" for script in scripts.values()),
            payload=_payload(plates),
        )
    )
