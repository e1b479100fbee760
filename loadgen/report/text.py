"""A run's summary for a terminal: what happened, why, and how sure one can be. Plain text."""

from __future__ import annotations

from pathlib import Path

from loadgen.foreign import harmless
from loadgen.protocols import meaning_of
from loadgen.report import rows
from loadgen.report.headline import measured
from loadgen.report.rows import FAULTS
from loadgen.summary import Latency, Summary
from loadgen.units import format_duration


def render(summary: Summary, out: Path | None = None) -> str:
    """Return the report, ending in a newline."""
    lines = [*_head(summary), "", *_counts(summary), *_latencies(summary), *_shards(summary)]
    for cause in summary.causes:
        when = "" if cause.first_at is None else f", from {cause.first_at:.2f} s on"
        lines += [
            "",
            f"  {cause.title}: {_number(cause.connections)} ({FAULTS[cause.fault]}{when})",
            *(f"    · {item.text}" for item in cause.evidence),
            f"    → {cause.remedy}",
        ]
    for kept in summary.snapshots:
        essence = "; ".join(item.text for item in kept.essence)
        lines += ["", f"  at the first {kept.outcome}, {kept.at:.2f} s: {essence} ({kept.file})"]
    for explanation in summary.explanations:
        lines += ["", f"  {explanation.text}"]
    for warning in summary.warnings:
        lines += ["", f"  warning: {warning.text} ({warning.remedy})"]
    if summary.verdict.thresholds:
        lines.append("")
        for gate in summary.verdict.thresholds:
            mark = "pass" if gate.passed else "FAIL"
            lines.append(f"  {mark}  {gate.expression}  ({measured(gate)})")
    lines += ["", f"  {_validity(summary)}"]
    if summary.generator.limit:
        lines.append(f"  limit: {summary.generator.limit}")
    if out is not None:
        lines.append(f"  {out}")
    return harmless("\n".join(lines)) + "\n"


def _number(connections: int) -> str:
    return f"{connections:,}" if connections else "no failure of its own"


def _head(summary: Summary) -> list[str]:
    config = summary.config
    rate = "closed loop" if summary.rate.target is None else f"{summary.rate.target:,.0f}/s"
    targets = ", ".join(config.targets)
    meaning = meaning_of(config.close, config.protocol, tls=config.tls is not None)
    return [
        f"loadgen {summary.environment.churnlab or ''}: {targets}, {rate}, "
        f"{config.duration:g} s, {config.op}, {summary.generator.workers} workers, "
        f"Linux {summary.environment.kernel or '?'}",
        f"  close: {config.close} ({meaning})",
    ]


def _counts(summary: Summary) -> list[str]:
    failed = ", ".join(
        f"{name} {count:,}" for name, count in sorted(summary.outcomes.items()) if name != "ok"
    )
    replies = ", ".join(f"{name} {count:,}" for name, count in sorted(summary.replies.items()))
    lines = [
        f"  scheduled   {summary.scheduled:>10,}   {summary.rate.offered:,.1f}/s",
        f"  started     {summary.started:>10,}",
        f"  ok          {summary.ok:>10,}   {summary.rate.achieved:,.1f}/s   {replies}".rstrip(),
        f"  failed      {summary.failed:>10,}   {failed}".rstrip(),
        f"  dropped     {summary.dropped:>10,}   overdue arrivals, never started",
    ]
    if summary.unfinished:
        lines.append(
            f"  unfinished  {summary.unfinished:>10,}   under way when the run was stopped"
        )
    return lines


def _latencies(summary: Summary) -> list[str]:
    rows: list[tuple[str, Latency]] = list(summary.latency.items())
    if summary.lateness is not None:
        rows.append(("lateness", summary.lateness))
    if not rows:
        return []
    heads = ("p50", "p90", "p99", "p99.9", "max")
    lines = ["", f"  {'':<12}" + "".join(f"{head:>10}" for head in heads)]
    for name, row in rows:
        values = (row.p50, row.p90, row.p99, row.p99_9, row.max)
        lines.append(f"  {name:<12}" + "".join(f"{format_duration(v):>10}" for v in values))
    return lines


_SHARDS = 20
"""Shards of a fleet that a terminal shows; those that are not whole first."""


def _shards(summary: Summary) -> list[str]:
    if not summary.shards:
        return []
    order = sorted(rows.shards(summary), key=lambda row: row["state"] == "whole")
    lines = ["", f"  {'shard':<22}{'ok':>11}{'failed':>9}{'dropped':>10}  clock against control's"]
    for row in order[:_SHARDS]:
        name = f"{row['label']} {row['node']}".strip()
        state = "" if row["state"] == "whole" else f"  {row['state']}"
        lines.append(
            f"  {name:<22}{row['ok']:>11}{row['failed']:>9}{row['dropped']:>10}"
            f"  {row['clock']}{state}"
        )
    if len(order) > _SHARDS:
        lines.append(f"  … and {len(order) - _SHARDS:,} more")
    return lines


def _validity(summary: Summary) -> str:
    generator = summary.generator
    if not summary.started:
        return f"{summary.validity}: nothing was started"
    each = (generator.cpu_user + generator.cpu_system) / summary.started
    cost = (
        f"{format_duration(each)} of CPU a connection "
        f"(user {format_duration(generator.cpu_user / summary.started)}), "
        f"{format_duration(generator.connect_call_seconds / summary.started)} inside connect()"
    )
    tls = generator.tls
    if tls is not None and tls.handshakes:
        took = format_duration(tls.cpu_seconds / tls.handshakes)
        cost += f", {took} for its TLS handshake ({tls.resumed:,} of {tls.handshakes:,} resumed)"
    return f"{summary.validity}: {cost}"
