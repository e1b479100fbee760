"""The files of a run directory: written as the run goes on, readable whatever cut them off.

`samples.jsonl` and `latency.hlog` grow by whole lines, each written with one call, so a run that was
killed leaves at most one damaged line at the end of each, which readers pass over.
`latency.hlog` is HdrHistogram's interval log (`hlog`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from loadgen import sample, summary
from loadgen.accounting.latency import IntervalHistogram
from loadgen.files import (
    ReadError,
    WriteError,
    read_lines,
    read_record,
    write_all,
    write_whole,
    writing,
)
from loadgen.run import hlog
from loadgen.run.hlog import Logged
from loadgen.sample import ROLE_GENERATOR, Sample
from loadgen.summary import Summary

RUN = "run.json"
SAMPLES = "samples.jsonl"
HISTOGRAMS = "latency.hlog"
SUMMARY = "summary.json"


class RunDirectory:
    """Writes one run's files, as long as they find room.

    A file that cannot be written does not end what is measured, and nothing is half written: what grows
    loses the lines that found no room and all later ones, what is replaced stays what it was.

    Args:
        path: made if missing. Must not hold a run already.

    Raises:
        FileExistsError: when there is a run in it.
        WriteError: when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        # A run that was killed at its very start may have left only one of its files.
        if any((path / name).exists() for name in (RUN, SAMPLES, HISTOGRAMS)):
            raise FileExistsError(f"{path} holds a run already; give another --out")
        self.path = path
        self.unwritten: WriteError | None = None
        """The first file that could not be written, and why."""
        self._unsaved: Sample | None = None
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            self._samples = _Growing(path / SAMPLES)
            self._histograms = _Growing(path / HISTOGRAMS)
            self._histograms.add(hlog.HEADER.encode())

    def write_run(self, about: msgspec.Struct) -> None:
        """Write `run.json`: what is known before the first arrival."""
        self._try(partial(write_about, self.path, about))

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Append to `samples.jsonl`."""
        found = list(samples)
        if self.unwritten is None:
            self._try(partial(self._samples.add, b"".join(map(sample.encode_line, found))))
        if self.unwritten is not None:
            for item in found:
                self._unsaved = item if item.role == ROLE_GENERATOR else self._unsaved

    def add_intervals(self, intervals: Iterable[IntervalHistogram]) -> None:
        """Append to `latency.hlog`."""
        if self.unwritten is None:
            lines = "".join(map(hlog.line, intervals))
            self._try(partial(self._histograms.add, lines.encode()))

    def write_snapshot(self, file: str, kept: msgspec.Struct) -> bool:
        """Write a snapshot to `file` in the run directory; return whether it is there."""
        path = self.path / file
        data = msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n"

        def write() -> None:
            path.parent.mkdir(exist_ok=True)
            write_whole(path, data)

        return self._try(write)

    def write_summary(self, result: Summary) -> None:
        """Write `summary.json`, whole or not at all."""
        self._try(partial(write_summary, self.path, result))

    def samples(self) -> list[Sample]:
        """Return the samples that are on disk, and the generator's last where it is not."""
        return [*read_samples(self.path), *([self._unsaved] if self._unsaved else [])]

    def close(self) -> None:
        """Close the growing files."""
        self._samples.close()
        self._histograms.close()

    def _try(self, write: Callable[[], None]) -> bool:
        """Write; note a file that cannot be written, instead of ending what is measured."""
        try:
            with writing(self.path):
                write()
        except WriteError as error:
            self.unwritten = self.unwritten or error
            return False
        return True


class _Growing:
    """A new file that grows by whole lines.

    Raises:
        OSError: when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("xb", buffering=0)
        self._size = 0

    def add(self, lines: bytes) -> None:
        """Append lines, all of them or none.

        Raises:
            OSError: when they find no room; what there was of them is taken away again.
        """
        try:
            write_all(self._file, lines)
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        self._size += len(lines)

    def close(self) -> None:
        """Close it."""
        self._file.close()


def write_about(path: Path, about: msgspec.Struct | Mapping[str, Any]) -> None:
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
