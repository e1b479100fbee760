"""The latencies of each arm as an HdrHistogram interval log, for the tools that read those.

One line a trial that counts and a latency: `connect`, `first_byte`, `total`, as tags. Values are
microseconds; start is the trial's, in seconds since the experiment's, and length is the run's.
"""

from __future__ import annotations

from datetime import datetime

from lab.analysis.records import AFTER, BEFORE
from lab.analysis.store import Stored, StoredTrial
from loadgen.accounting.latency import IntervalHistogram, by_tag
from loadgen.accounting.messages import LATENCIES
from loadgen.run import hlog


def render(stored: Stored) -> dict[str, str]:
    """Return the logs by file name; an arm without latencies has none."""
    files = {}
    for arm in (BEFORE, AFTER):
        lines = [
            hlog.line(interval)
            for trial in stored.counted(arm)
            for interval in _whole(trial, stored.experiment.started_at)
        ]
        if lines:
            files[f"latency-{arm}.hlog"] = hlog.HEADER + "".join(lines)
    return files


def _whole(trial: StoredTrial, origin: str) -> list[IntervalHistogram]:
    """Return the histograms of a trial as one interval for each latency."""
    assert trial.summary is not None
    found = by_tag(trial.latencies())
    start = _seconds_between(origin, trial.trial.started_at)
    return [
        IntervalHistogram(tag, start, trial.summary.elapsed, found[tag])
        for tag in LATENCIES
        if found.get(tag)
    ]


def _seconds_between(first: str, second: str) -> float:
    """Return how long after `first` is `second`; 0 where either is no time."""
    try:
        return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
