"""The files of a run: what is written is read, also when they were cut off anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given
from hypothesis import strategies as st

from loadgen import summary
from loadgen.accounting import latency
from loadgen.accounting.latency import IntervalHistogram
from loadgen.run import rundir
from loadgen.run.conclude import About, Ended, conclude
from loadgen.run.rundir import RunDirectory
from loadgen.sample import Sample
from tests.loadgen.builders import about

_counts = st.dictionaries(
    st.integers(0, latency.BUCKETS - 1), st.integers(1, 10**6), min_size=1, max_size=30
)
_intervals = st.lists(
    st.builds(
        IntervalHistogram,
        st.sampled_from(["connect", "first_byte", "total", "lateness"]),
        st.integers(0, 3600).map(float),
        st.integers(1, 1000).map(lambda n: n / 1000),
        _counts,
    ),
    max_size=5,
)
SAMPLES = [Sample(t / 10, "client", {"sockstat_TCP_tw": t, "cpu": t / 4}) for t in range(6)]
INTERVALS = [
    IntervalHistogram("total", 0.0, 1.0, {0: 3, 100: 5, 2000: 1}),
    IntervalHistogram("lateness", 1.0, 0.5, {7: 2, latency.BUCKETS - 1: 1}),
]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A finished run directory."""
    directory = RunDirectory(tmp_path / "run")
    directory.write_run(about(ended=Ended(elapsed=0.5)))
    directory.add_samples(SAMPLES[:2])
    directory.add_samples(SAMPLES[2:])
    directory.add_intervals(INTERVALS)
    directory.write_summary(conclude(about(), SAMPLES, {}))
    directory.close()
    return tmp_path / "run"


def test_a_run_is_read_as_it_was_written(written: Path) -> None:
    assert msgspec.convert(rundir.read_run(written), About) == about(ended=Ended(elapsed=0.5))
    assert rundir.read_samples(written) == SAMPLES
    assert rundir.read_intervals(written) == INTERVALS
    found = rundir.read_summary(written)
    assert found is not None
    assert summary.encode(found) == summary.encode(conclude(about(), SAMPLES, {}))


def test_nothing_else_is_left_behind(written: Path) -> None:
    names = {path.name for path in written.iterdir()}
    assert names == {rundir.RUN, rundir.SAMPLES, rundir.HISTOGRAMS, rundir.SUMMARY}


@given(_intervals)
def test_no_count_is_lost_or_moved_in_the_histogram_log(
    tmp_path_factory: pytest.TempPathFactory, intervals: list[IntervalHistogram]
) -> None:
    """Every bucket, the one of 0 µs and the last one too."""
    path = tmp_path_factory.mktemp("hlog") / "run"
    directory = RunDirectory(path)
    directory.add_intervals(intervals)
    directory.close()
    assert rundir.read_intervals(path) == intervals
    shutil.rmtree(path)


def test_other_programs_read_the_histogram_log(written: Path) -> None:
    """HdrHistogram's own reader finds the tagged intervals, their times and their values."""
    reader = HistogramLogReader(str(written / rundir.HISTOGRAMS), HdrHistogram(1, 120_000_000, 2))
    found = []
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found.append((histogram.get_tag(), histogram.get_total_count()))
    reader.close()
    assert found == [("total", 9), ("lateness", 3)]


def test_totals_are_per_tag() -> None:
    parts = [IntervalHistogram("total", float(n), 1.0, {5: 1, 6 + n: 2}) for n in range(2)]
    assert latency.by_tag([*parts, IntervalHistogram("connect", 0.0, 1.0, {9: 1})]) == {
        "total": {5: 2, 6: 2, 7: 2},
        "connect": {9: 1},
    }


def test_a_file_cut_at_any_byte_gives_its_whole_lines(written: Path) -> None:
    """`kill -9` in the middle of a write."""
    for name, read, expected in (
        (rundir.SAMPLES, rundir.read_samples, SAMPLES),
        (rundir.HISTOGRAMS, rundir.read_intervals, INTERVALS),
    ):
        whole = (written / name).read_bytes()
        seen = set()
        for length in range(len(whole) + 1):
            (written / name).write_bytes(whole[:length])
            found = read(written)
            assert found == expected[: len(found)]
            # What is missing is at most the line that the cut went through.
            assert len(found) >= len(
                [line for line in whole[:length].split(b"\n")[:-1] if line[:1] in b"{T"]
            )
            seen.add(len(found))
        assert seen == set(range(len(expected) + 1))


def test_damage_in_the_middle_costs_one_line(written: Path) -> None:
    path = written / rundir.SAMPLES
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\xff\x00{\n", *lines[3:]]))
    assert rundir.read_samples(written) == SAMPLES[:2] + SAMPLES[3:]
    path = written / rundir.HISTOGRAMS
    text = path.read_bytes()
    path.write_bytes(text.replace(b"Tag=total,0.000,1.000,", b"Tag=total,0.000,\xff,"))
    assert rundir.read_intervals(written) == INTERVALS[1:]


@pytest.mark.parametrize("name", [rundir.RUN, rundir.SUMMARY])
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_record_is_none(written: Path, name: str, data: bytes) -> None:
    (written / name).write_bytes(data)
    read = rundir.read_run if name == rundir.RUN else rundir.read_summary
    assert read(written) is None


def test_an_empty_directory_reads_as_nothing(tmp_path: Path) -> None:
    assert rundir.read_run(tmp_path) is None
    assert rundir.read_summary(tmp_path) is None
    assert rundir.read_samples(tmp_path) == []
    assert rundir.read_intervals(tmp_path) == []


@pytest.mark.parametrize("left", [rundir.RUN, rundir.SAMPLES, rundir.HISTOGRAMS])
def test_an_existing_run_is_refused_and_left_alone(written: Path, left: str) -> None:
    """Also one that was killed so early that only some of its files exist."""
    for path in list(written.iterdir()):
        if path.name != left:
            path.unlink()
    before = (written / left).read_bytes()
    with pytest.raises(FileExistsError, match="holds a run already; give another --out"):
        RunDirectory(written)
    assert (written / left).read_bytes() == before
    assert [path.name for path in written.iterdir()] == [left]


def test_a_directory_with_other_files_is_welcome(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    RunDirectory(tmp_path).close()
    assert (tmp_path / "notes.txt").read_text() == "mine"
