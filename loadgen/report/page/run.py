"""The page of one run: `index.html` in its run directory. Pure, but for the name of its directory."""

from __future__ import annotations

from typing import Any, Final

from loadgen.report import numbers, rows
from loadgen.report.headline import headline
from loadgen.report.page import frame
from loadgen.report.page.charts import plates
from loadgen.report.page.figures import Course
from loadgen.report.page.series import tracks
from loadgen.run import rundir
from loadgen.run.stored import Salvaged
from loadgen.summary import Latency, Summary
from loadgen.units import NOTHING, format_duration, spaced

PAGE: Final = "index.html"
_PERCENTILES: Final = {
    "p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p99_9", "greatest": "max",
}  # fmt: skip
_ACCOUNTS: Final = (
    ("scheduled", "arrivals that were due"),
    ("started", "attempts made"),
    ("ok", "answered and closed"),
    ("failed", "ended otherwise"),
    ("unfinished", "under way when the run ended"),
    ("dropped", "overdue and given up, never started"),
)


def render(found: Salvaged, files: list[str]) -> str:
    """Return the page as HTML.

    Args:
        found: the run.
        files: what lies beside the page, to link to.
    """
    summary = found.summary
    told = rows.Told([""], [summary], 0)
    course = Course(
        name="",
        ink="second",
        labels=[""],
        summaries=[summary],
        tracks=[tracks(found.samples)],
        intervals=[found.intervals],
        shown=0,
    )
    unread = _unread(found)
    return (
        frame.environment()
        .get_template("run.html.j2")
        .render(
            title=_title(summary),
            head=headline(summary),
            facts=_facts(found),
            tiles=_tiles(summary),
            missing=found.missing,
            gates=[
                {
                    "expression": gate.expression,
                    "value": rows.gate(gate.expression, gate.value),
                    "passed": gate.passed,
                }
                for gate in summary.verdict.thresholds
            ],
            accounts=_accounts(summary),
            percentiles=list(_PERCENTILES),
            latencies=_latencies(summary),
            shards=rows.shards(summary),
            page=PAGE,
            lost=summary.lost,
            causes=rows.causes(told),
            snapshots=rows.snapshots(told),
            link=lambda kept: kept["file"] if kept["file"] in files else "",
            explanations=rows.explanations(told),
            outcomes=rows.outcomes([summary]),
            roles=rows.metrics(summary),
            sysctls=_sysctls(found),
            warnings=[
                {"text": warning.text, "where": "", "remedy": warning.remedy}
                for warning in summary.warnings
            ],
            unread=unread,
            config=rows.circumstances(summary.config),
            surroundings=rows.circumstances(summary.environment),
            files=[name for name in files if "/" not in name],
            **frame.drawing(plates([course], unread)),
        )
    )


def _title(summary: Summary) -> str:
    targets = ", ".join(summary.config.targets or ["a target that is not known"])
    if summary.rate.target is None:
        return f"Closed loop to {targets}"
    return f"{numbers.quantity(summary.rate.target, '/s')} to {targets}"


def _facts(found: Salvaged) -> list[tuple[str, str]]:
    config, environment = found.summary.config, found.summary.environment
    facts = [
        ("For", format_duration(config.duration)),
        ("Schedule", config.schedule),
        ("Operation", config.op),
        ("Closes first", config.close),
        ("Workers", str(config.workers)),
    ]
    for label, value in (("Kernel", environment.kernel), ("CPUs", environment.cpus)):
        if value is not None:
            facts.append((label, str(value)))
    if found.about is not None:
        facts.append(("Started", numbers.moment(found.about.started_at)))
    return facts


def _tiles(summary: Summary) -> list[tuple[str, str, str]]:
    connect = summary.latency.get("connect")
    call = summary.generator.connect_call_seconds / summary.started if summary.started else None
    return [
        (
            "Connections lost",
            numbers.share(summary.lost_share),
            f"{numbers.count(summary.lost)} of {numbers.count(summary.scheduled)}",
        ),
        (
            "Served per second",
            numbers.quantity(summary.rate.achieved, "/s"),
            f"{numbers.quantity(summary.rate.offered, '/s')} were offered",
        ),
        (
            "Connect, 99th percentile",
            numbers.quantity(None if connect is None else connect.p99, "s"),
            "" if connect is None else f"median {numbers.seconds(connect.p50)}",
        ),
        ("Time inside one connect() call", numbers.quantity(call, "s"), "mean of all calls"),
    ]


def _accounts(summary: Summary) -> list[dict[str, str]]:
    due = summary.scheduled
    return [
        {
            "name": name,
            "description": description,
            "number": numbers.count(number := getattr(summary, name)),
            "share": numbers.share(number / due) if due else NOTHING,
        }
        for name, description in _ACCOUNTS
    ]


def _latencies(summary: Summary) -> list[dict[str, Any]]:
    found: list[tuple[str, Latency]] = [
        (tag.replace("_", " "), row) for tag, row in summary.latency.items()
    ]
    if summary.lateness is not None:
        found.append(("lateness of the start", summary.lateness))
    return [
        {
            "name": name,
            "cells": [numbers.seconds(getattr(row, field)) for field in _PERCENTILES.values()],
        }
        for name, row in found
    ]


def _unread(found: Salvaged) -> dict[str, str]:
    absent = found.about.absent if found.about is not None else {}
    return {
        f"{role}.{metric}": reason
        for role, metrics in absent.items()
        for metric, reason in metrics.items()
    }


def _sysctls(found: Salvaged) -> list[dict[str, Any]]:
    settings: dict[tuple[str, str], list[str]] = {}
    for role, values in (found.about.sysctls if found.about is not None else {}).items():
        for key, value in values.items():
            settings.setdefault((key, spaced(value)), []).append(role)
    return [
        {"key": key, "value": value, "roles": roles}
        for (key, value), roles in sorted(settings.items())
    ]


def beside(found: Salvaged) -> list[str]:
    """Return the run's files that are there, as paths in its directory."""
    names = (rundir.SUMMARY, rundir.RUN, rundir.SAMPLES, rundir.HISTOGRAMS)
    kept = [note.file for note in found.summary.snapshots]
    return [name for name in (*names, *kept) if (found.path / name).is_file()]
