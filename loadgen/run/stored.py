"""Reads run directories back, whole or cut short, into a summary."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from loadgen.accounting import sums
from loadgen.accounting.latency import Counts, IntervalHistogram, by_tag
from loadgen.config import RunConfig
from loadgen.errors import ChurnlabError
from loadgen.files import MissingError, ReadError, last_byte, read_record
from loadgen.run import rundir
from loadgen.run.conclude import About, conclude
from loadgen.sample import ROLE_GENERATOR, Sample
from loadgen.summary import Environment, Summary


class StoredError(ChurnlabError):
    """A directory that holds no run, or runs that do not belong together."""


class StoredRun(msgspec.Struct, frozen=True):
    """What a run directory holds."""

    path: Path
    about: About
    samples: list[Sample]
    intervals: list[IntervalHistogram]
    histograms: dict[str, Counts]
    """The whole run's, by tag."""

    def summary(self) -> Summary:
        """Return the summary, made anew from the other files."""
        return conclude(self.about, self.samples, self.histograms)


class Salvaged(msgspec.Struct, frozen=True):
    """All that is known of a run, whatever happened to its files."""

    path: Path
    about: About | None
    """None where `run.json` cannot be read."""
    summary: Summary
    samples: list[Sample]
    intervals: list[IntervalHistogram]
    missing: list[str]
    """What could not be read, or had to be guessed; one line each."""


def read(path: Path) -> StoredRun:
    """Read a run directory, whole or cut off.

    Raises:
        StoredError: when there is no readable `run.json`, without which nothing can be said.
    """
    try:
        about = read_record(path / rundir.RUN, About)
    except MissingError:
        raise StoredError(
            f"{path} holds no run: {rundir.RUN} is missing",
            "give a directory that `loadgen run --out` wrote",
        ) from None
    except ReadError as error:
        raise StoredError(str(error)) from None
    intervals = rundir.read_intervals(path)
    return StoredRun(path, about, rundir.read_samples(path), intervals, by_tag(intervals))


def read_about(path: Path) -> About | None:
    """Return `run.json`, or None where it is missing or damaged."""
    with suppress(ReadError):
        return read_record(path / rundir.RUN, About)
    return None


def salvage(path: Path) -> Salvaged:
    """Read a run directory for a report, whatever became of its files.

    Without a readable `run.json` the summary is the stored one; without that either, what the
    samples tell of a load that nobody described.

    Raises:
        StoredError: when there is nothing of a run in it at all.
    """
    files = (rundir.RUN, rundir.SAMPLES, rundir.HISTOGRAMS)
    if not any((path / name).exists() for name in (*files, rundir.SUMMARY)):
        raise StoredError(
            f"{path} holds no run: none of {', '.join(files)} is there",
            "give a directory that `loadgen run --out` wrote",
        )
    missing = damage(path)
    try:
        found = read(path)
    except StoredError:
        pass
    else:
        return Salvaged(path, found.about, found.summary(), found.samples, found.intervals, missing)
    samples, intervals = rundir.read_samples(path), rundir.read_intervals(path)
    summary = rundir.read_summary(path)
    if summary is not None:
        missing.append(
            f"the summary is the stored one: without {rundir.RUN} it cannot be made anew"
        )
        return Salvaged(path, None, summary, samples, intervals, missing)
    missing.append("what load was asked for is not known; its rate and duration are what was seen")
    about = _guess(samples)
    summary = conclude(about, samples, by_tag(intervals))
    return Salvaged(path, None, summary, samples, intervals, missing)


def damage(path: Path, label: str = "") -> list[str]:
    """Return one line for each file of a run, `summary.json` apart, that is missing or cut off.

    Args:
        path: the run directory.
        label: what to name it in the lines; nothing for the bare names of the files.
    """
    prefix = f"{label}/" if label else ""
    lines = []
    try:
        read_record(path / rundir.RUN, About)
    except ReadError as error:
        lines.append(f"{prefix}{rundir.RUN} {error.reason}")
    for name in (rundir.SAMPLES, rundir.HISTOGRAMS):
        try:
            last = last_byte(path / name)
        except ReadError as error:
            lines.append(f"{prefix}{name} {error.reason}")
        else:
            if last != b"\n":
                told = "is cut off in its last line" if last else "is empty"
                lines.append(f"{prefix}{name} {told}")
    return lines


def _guess(samples: Sequence[Sample]) -> About:
    """Return a `run.json` for samples that have lost theirs."""
    generator = [item for item in samples if item.role == ROLE_GENERATOR]
    seconds = max(generator[-1].t if generator else 0.0, 0.001)
    due = min(sums.totals_of(generator[-1].values).scheduled, 10**9) if generator else 0
    return About(
        version="unknown",
        config=RunConfig(
            targets=[], addresses=[], rate=max(1, due) / seconds, duration=seconds, max_in_flight=1
        ),
        environment=Environment(),
        started_at="unknown",
        sysctls={},
        absent={},
    )
