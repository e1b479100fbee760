"""The result of a run, in a few words and in one sentence with its numbers. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from loadgen.report.numbers import count, plural, quantity, seconds, share
from loadgen.report.rows import gate as reading
from loadgen.report.rows import ranked_causes
from loadgen.summary import Summary, ThresholdResult
from loadgen.units import format_duration

Tone = Literal["good", "bad", "warn", "calm"]


class Headline(msgspec.Struct, frozen=True):
    """The tone is never the only bearer of the meaning: sign and words carry it too."""

    tone: Tone
    sign: str
    words: str
    sentence: str


def headline(summary: Summary) -> Headline:
    """Return the headline of a run: whether it is valid first, then its gates, then its losses."""
    sentence = _sentence(summary)
    broken = [gate for gate in summary.verdict.thresholds if not gate.passed]
    if summary.validity == "generator_limited":
        reasons = "; ".join(summary.generator.reasons)
        return Headline(
            "warn", "!", "Not measured: the generator was the limit", f"{sentence} But {reasons}."
        )
    if summary.validity == "partial":
        said = next((warning.text for warning in summary.warnings), "it was cut short")
        return Headline("warn", "?", "Not the whole run", f"{sentence} But {said}.")
    if broken:
        gates = "A gate" if len(broken) == 1 else f"{len(broken)} gates"
        told = "; ".join(f"{gate.expression} ({measured(gate)})" for gate in broken)
        return Headline("bad", "✗", f"{gates} failed", f"{sentence} Broken: {told}.")
    if summary.lost:
        return Headline(
            "calm", "↓", f"{share(summary.lost_share)} of the connections were lost", sentence
        )
    return Headline("good", "✓", "Every connection was served", sentence)


def measured(gate: ThresholdResult) -> str:
    """Return the value of a threshold's metric."""
    found = reading(gate.expression, gate.value)
    return found if gate.value is None else f"measured {found}"


def _sentence(summary: Summary) -> str:
    if not summary.scheduled:
        return "No connection was due."
    duration = summary.config.duration
    span = f" in {format_duration(duration)}"
    if summary.validity == "partial":
        span = f" in {format_duration(summary.elapsed)} of {format_duration(duration)}"
    due = f"{plural(summary.scheduled, 'connection')}{span}"
    if not summary.lost:
        rest = f"; {count(summary.unfinished)} were unfinished" if summary.unfinished else ""
        rate = quantity(summary.rate.achieved, "/s")
        return f"Of {due}, {count(summary.ok)} were served, {rate}{rest}."
    begin = ""
    if summary.first_failure_at is not None:
        begin = f", beginning {seconds(summary.first_failure_at)} into the run"
        if summary.started_before_first_failure:
            begin += f" after {plural(summary.started_before_first_failure, 'connection')}"
    ranked = ranked_causes([summary])
    why = f": {ranked[0][0].title.rstrip('.')}" if ranked else ""
    return (
        f"Of {due}, {count(summary.ok)} were served and "
        f"{count(summary.lost)} ({share(summary.lost_share)}) lost{begin}{why}."
    )
