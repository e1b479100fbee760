"""The files of a run directory: written as the run goes on, readable whatever cut them off.

`samples.jsonl` and `latency.hlog` grow by whole lines, each written with one call, so a run that was
killed leaves at most one damaged line at the end of each, which readers pass over.
`latency.hlog` is HdrHistogram's interval log (`hlog`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from loadgen import sample, summary
from loadgen.accounting.latency import IntervalHistogram
from loadgen.files import ReadError, read_lines, read_record, write_whole
from loadgen.run import hlog
from loadgen.run.hlog import Logged
from loadgen.sample import Sample
from loadgen.summary import Summary

RUN = "run.json"
SAMPLES = "samples.jsonl"
HISTOGRAMS = "latency.hlog"
SUMMARY = "summary.json"


class RunDirectory:
    """Writes one run's files.

    Args:
        path: made if missing. Must not hold a run already.

    Raises:
        FileExistsError: when there is a run in it.
        OSError: when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        # A run that was killed at its very start may have left only one of its files.
        if any((path / name).exists() for name in (RUN, SAMPLES, HISTOGRAMS)):
            raise FileExistsError(f"{path} holds a run already; give another --out")
        self.path = path
        self._samples = (path / SAMPLES).open("xb", buffering=0)
        self._histograms = (path / HISTOGRAMS).open("x", encoding="ascii")
        self._histograms.write(hlog.HEADER)
        self._histograms.flush()

    def write_run(self, about: Mapping[str, Any]) -> None:
        """Write `run.json`: what is known before the first arrival."""
        write_about(self.path, about)

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Append to `samples.jsonl`."""
        self._samples.write(b"".join(map(sample.encode_line, samples)))

    def add_intervals(self, intervals: Iterable[IntervalHistogram]) -> None:
        """Append to `latency.hlog`."""
        self._histograms.write("".join(map(hlog.line, intervals)))
        self._histograms.flush()

    def write_snapshot(self, file: str, kept: msgspec.Struct) -> None:
        """Write a snapshot to `file` in the run directory, whole or not at all."""
        path = self.path / file
        path.parent.mkdir(exist_ok=True)
        write_whole(path, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")

    def write_summary(self, result: Summary) -> None:
        """Write `summary.json`, whole or not at all."""
        write_summary(self.path, result)

    def close(self) -> None:
        """Close the growing files."""
        self._samples.close()
        self._histograms.close()


def write_about(path: Path, about: Mapping[str, Any]) -> None:
    """Write a run directory's `run.json`, whole or not at all."""
    write_whole(path / RUN, msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n")


def write_summary(path: Path, result: Summary) -> None:
    """Write a run directory's `summary.json`, whole or not at all."""
    write_whole(path / SUMMARY, summary.encode(result))


def read_run(path: Path) -> dict[str, Any] | None:
    """Return `run.json`, or None where it is missing or damaged."""
    with suppress(ReadError):
        return read_record(path / RUN, dict[str, Any])
    return None


def read_summary(path: Path) -> Summary | None:
    """Return `summary.json`, or None where it is missing or damaged."""
    with suppress(ReadError):
        return read_record(path / SUMMARY, Summary)
    return None


def read_samples(path: Path) -> list[Sample]:
    """Return the whole lines of `samples.jsonl`."""
    found: list[Sample] = []
    with suppress(ReadError):
        found.extend(sample.decode_lines(read_lines(path / SAMPLES)))
    return found


def read_intervals(path: Path) -> list[IntervalHistogram]:
    """Return the whole lines of `latency.hlog`."""
    return list(hlog.intervals(_log(path)))


def logged_intervals(path: Path) -> Iterator[Logged]:
    """Yield the whole lines of `latency.hlog` with their histograms as they stand there."""
    return hlog.logged(_log(path))


def _log(path: Path) -> Iterator[str]:
    with suppress(ReadError):
        for line in read_lines(path / HISTOGRAMS):
            yield line.decode("ascii", "replace")
