"""Reads what an experiment or a run left on disk, whole or cut short.

Whatever ended an experiment (Ctrl-C, a full disk, a power cut) may have cut any of its files at
any byte. Nothing here fails for that: what can be read is returned, and each thing that cannot is
one line in `missing` that names the file.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from lab.analysis.records import (
    AFTER,
    BEFORE,
    Arm,
    Experiment,
    ExperimentConfig,
    Trial,
)
from loadgen.accounting.latency import IntervalHistogram
from loadgen.config import RunConfig
from loadgen.errors import ChurnlabError
from loadgen.files import ReadError, inside, read_record
from loadgen.run import rundir
from loadgen.run import stored as stored_runs
from loadgen.run.conclude import About
from loadgen.sample import Sample
from loadgen.summary import Environment, Summary

EXPERIMENT: Final = "experiment.json"

_T = TypeVar("_T")


class StoreError(ChurnlabError):
    """A directory that holds neither an experiment nor a run. The message names the remedy."""


class StoredTrial(msgspec.Struct, frozen=True):
    """One run directory of an experiment."""

    trial: Trial
    path: Path
    summary: Summary | None
    about: About | None
    """`run.json`; None where it cannot be read."""

    def samples(self) -> list[Sample]:
        """Return the samples that are whole, in the order of time they were written."""
        with _no_collection():
            return rundir.read_samples(self.path)

    def latencies(self) -> list[IntervalHistogram]:
        """Return the interval histograms that are whole."""
        return rundir.read_intervals(self.path)


class Stored(msgspec.Struct, frozen=True):
    """An experiment with its run directories."""

    directory: Path
    experiment: Experiment
    trials: list[StoredTrial]
    missing: list[str]

    def summaries(self) -> dict[str, Summary | None]:
        """Return the summaries by the trial's directory."""
        return {stored.trial.directory: stored.summary for stored in self.trials}

    def counted(self, arm: str) -> list[StoredTrial]:
        """Return the trials of `arm` that count."""
        return [
            stored
            for stored in self.trials
            if stored.trial.arm == arm
            and stored.trial.used
            and stored.summary is not None
            and stored.summary.validity == "valid"
        ]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the cycle collector out while millions of records without cycles are built."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read(path: Path, kind: type[_T], missing: list[str], label: str) -> _T | None:
    try:
        return read_record(path, kind)
    except ReadError as error:
        missing.append(f"{label} {error.reason}")
    return None


def _guess_experiment(directory: Path) -> Experiment:
    """Return what the folders alone tell, when `experiment.json` cannot be read."""
    arms: dict[str, None] = {}
    trials: list[Trial] = []
    folders = directory / "trials"
    for path in sorted(folders.iterdir()) if folders.is_dir() else []:
        arm = next((name for name in (BEFORE, AFTER) if name in path.name), None)
        if arm is None or not path.is_dir():
            continue
        arms[arm] = None
        number = sum(1 for trial in trials if trial.arm == arm) + 1
        trials.append(_bare_trial(arm, number, f"trials/{path.name}"))
    return Experiment(
        name=directory.name,
        testbed="unknown",
        started_at="unknown",
        finished=False,
        config=ExperimentConfig(),
        environment=Environment(),
        arms=[Arm(name=arm, tuning=arm, source="unknown", text="", settings={}) for arm in arms],
        trials=trials,
    )


def _bare_trial(arm: str, number: int, directory: str) -> Trial:
    return Trial(
        arm=arm,
        number=number,
        used=True,
        directory=directory,
        sysctls={},
        skipped={},
        started_at="unknown",
    )


def _rebuild(path: Path) -> Summary | None:
    """Return the summary made anew from a run's other files, or None without a `run.json`."""
    try:
        return stored_runs.read(path).summary()
    except stored_runs.StoredError:
        return None


def _load_trial(directory: Path, trial: Trial, missing: list[str]) -> StoredTrial:
    path = directory / trial.directory
    if not inside(directory, path):
        missing.append(f"{trial.directory} lies outside the experiment and is not read")
        return StoredTrial(trial, directory / "trials" / "outside", None, None)
    lacking: list[str] = []
    summary = _read(path / rundir.SUMMARY, Summary, lacking, f"{trial.directory}/{rundir.SUMMARY}")
    if summary is None:
        summary = _rebuild(path)
        if summary is not None:
            lacking.append(f"{trial.directory}: the summary was rebuilt from its samples")
    lacking += stored_runs.damage(path, trial.directory)
    missing.extend(lacking)
    return StoredTrial(trial, path, summary, stored_runs.read_about(path))


def load(directory: Path) -> Stored:
    """Read an experiment's directory, which holds `experiment.json` and `trials/`.

    Raises:
        StoreError: when there is no experiment there at all.
    """
    missing: list[str] = []
    if is_run(directory):
        raise StoreError(f"{directory} holds a single run, not an experiment")
    experiment = _read(directory / EXPERIMENT, Experiment, missing, EXPERIMENT)
    if experiment is None:
        experiment = _guess_experiment(directory)
        missing.append("arms and trials were guessed from the names of the folders under trials/")
    elif not experiment.finished:
        missing.append("the experiment was interrupted: not all of its trials ran")
    trials = [_load_trial(directory, trial, missing) for trial in experiment.trials]
    return Stored(directory, experiment, trials, missing)


def load_run(directory: Path) -> Stored:
    """Read a single run directory as an experiment of one arm, `before`, and one trial.

    Raises:
        StoreError: when there is no run there at all.
    """
    if not is_run(directory):
        raise StoreError(f"{directory} holds an experiment, not a single run")
    missing: list[str] = []
    about = stored_runs.read_about(directory)
    trial = _bare_trial(BEFORE, 1, ".")
    if about is not None:
        trial = msgspec.structs.replace(trial, sysctls=about.sysctls, started_at=about.started_at)
    stored = _load_trial(directory, trial, missing)
    summary = stored.summary
    experiment = Experiment(
        name=directory.name,
        testbed="none",
        started_at=trial.started_at,
        finished=summary is not None,
        config=_of_one_run(summary.config) if summary else ExperimentConfig(),
        environment=summary.environment if summary else Environment(),
        arms=[
            Arm(name=BEFORE, tuning=directory.name, source=".", text="", settings={}),
        ],
        trials=[stored.trial],
    )
    return Stored(directory, experiment, [stored], missing)


def _of_one_run(config: RunConfig) -> ExperimentConfig:
    """Return what an experiment would say of a run's configuration."""
    return ExperimentConfig(
        rate=config.rate,
        duration=config.duration,
        close=config.close,
        op=config.op,
        timeout=config.timeout,
        max_lateness=config.max_lateness,
        workers=config.workers,
    )


def is_run(directory: Path) -> bool:
    """Return whether a directory is a single run's rather than an experiment's.

    Raises:
        StoreError: when it is neither.
    """
    if (directory / EXPERIMENT).exists() or (directory / "trials").is_dir():
        return False
    if any(
        (directory / name).exists()
        for name in (rundir.SUMMARY, rundir.RUN, rundir.SAMPLES, rundir.HISTOGRAMS)
    ):
        return True
    raise StoreError(
        f"{directory}: neither an experiment nor a run: no {EXPERIMENT}, no trials/, no "
        f"{rundir.RUN}",
        "give a directory that lab run or loadgen run wrote",
    )


def load_any(directory: Path) -> Stored:
    """Read an experiment or a single run, whichever is there.

    Raises:
        StoreError: when it is neither.
    """
    return load_run(directory) if is_run(directory) else load(directory)


def unread_metrics(about: About | None) -> dict[str, str]:
    """Return the metrics that a run could not read, as `role.metric`, with the reason."""
    return {
        f"{role}.{metric}": reason
        for role, metrics in (about.absent if about is not None else {}).items()
        for metric, reason in metrics.items()
    }
