"""The files of a run directory: written as the run goes on, readable whatever cut them off.

`samples.jsonl` and `latency.hlog` grow by whole lines, each written with one call, so a run that was
killed leaves at most one damaged line at the end of each, which readers pass over.
`latency.hlog` is HdrHistogram's interval log (version 1.2, tagged lines): values are microseconds,
start and length of an interval are seconds since the run's start. Its histograms keep two
significant digits, which is exactly the layout of `loadgen.accounting.latency`: nothing is lost
between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import compress, count
from pathlib import Path
from typing import IO, Any

import msgspec
from hdrh.histogram import HdrHistogram

from loadgen import sample, summary
from loadgen.accounting import latency
from loadgen.accounting.latency import IntervalHistogram
from loadgen.files import write_whole
from loadgen.sample import Sample
from loadgen.summary import Summary

RUN = "run.json"
SAMPLES = "samples.jsonl"
HISTOGRAMS = "latency.hlog"
SUMMARY = "summary.json"

_LONGEST = int(latency.LONGEST * 1e6)
_DIGITS = 2
HEADER = (
    "#[Histogram log format version 1.2]\n"
    "#[values are microseconds, timestamps are seconds since the run's start]\n"
    '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
)


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
        self._histograms.write(HEADER)
        self._histograms.flush()

    def write_run(self, about: Mapping[str, Any]) -> None:
        """Write `run.json`: what is known before the first arrival."""
        write_about(self.path, about)

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Append to `samples.jsonl`."""
        self._samples.write(b"".join(map(sample.encode_line, samples)))

    def add_intervals(self, intervals: Iterable[IntervalHistogram]) -> None:
        """Append to `latency.hlog`."""
        self._histograms.write("".join(map(interval_line, intervals)))
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


def interval_line(interval: IntervalHistogram) -> str:
    """Return one line of an interval log, newline included."""
    histogram = HdrHistogram(1, _LONGEST, _DIGITS)
    # Our own layout, index for index. Recording value by value takes the coordinator 10 ms a second,
    # of which the worker on the same CPU knows nothing but that its arrivals are late.
    counts = {index: number for index, number in interval.counts.items() if number}
    for index, number in counts.items():
        histogram.counts[index] = number
    if counts:
        histogram.set_internal_tacking_values(min(counts), max(counts), sum(counts.values()))
    payload = histogram.encode().decode("ascii")
    greatest = histogram.get_max_value() / 1e6
    return (
        f"Tag={interval.tag},{interval.start:.3f},{interval.length:.3f},{greatest:.6f},{payload}\n"
    )


def read_run(path: Path) -> dict[str, Any] | None:
    """Return `run.json`, or None where it is missing or damaged."""
    try:
        return msgspec.json.decode((path / RUN).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return None


def read_summary(path: Path) -> Summary | None:
    """Return `summary.json`, or None where it is missing or damaged."""
    try:
        return summary.decode((path / SUMMARY).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def read_samples(path: Path) -> list[Sample]:
    """Return the whole lines of `samples.jsonl`."""
    try:
        with (path / SAMPLES).open("rb") as lines:
            return list(sample.decode_lines(lines))
    except OSError:
        return []


def read_intervals(path: Path) -> list[IntervalHistogram]:
    """Return the whole lines of `latency.hlog`."""
    try:
        with (path / HISTOGRAMS).open(encoding="ascii", errors="replace") as lines:
            return list(_intervals(lines))
    except OSError:
        return []


def _intervals(lines: IO[str]) -> Iterator[IntervalHistogram]:
    for line in lines:
        fields = line.strip().split(",")
        if len(fields) != 5 or not fields[0].startswith("Tag="):
            continue
        try:
            histogram = HdrHistogram.decode(fields[4])
            start, length = float(fields[1]), float(fields[2])
        except Exception:  # noqa: BLE001, S112 - a damaged payload fails in many ways inside hdrh
            continue
        yield IntervalHistogram(fields[0].removeprefix("Tag="), start, length, _counts(histogram))


def _counts(histogram: HdrHistogram) -> dict[int, int]:
    if histogram.sub_bucket_count == latency.SUB_BUCKETS and histogram.unit_magnitude == 0:
        # Our own layout, index for index. A report reads thousands of these, and the package's
        # iterator takes milliseconds for each.
        dense = memoryview(histogram.counts).cast("B").cast("L").tolist()
        return dict(zip(compress(count(), dense), filter(None, dense), strict=True))
    counts: dict[int, int] = {}
    for item in histogram.get_recorded_iterator():
        index = latency.bucket(int(item.value_iterated_to))
        counts[index] = counts.get(index, 0) + item.count_at_value_iterated_to
    return counts
