"""Samples as CSV."""

import csv
import io
from pathlib import Path

from loadgen.report import table
from loadgen.run import rundir
from loadgen.sample import Sample
from tests.loadgen.synthetic import Plan, write_run


def written(*groups: table.Group) -> list[dict[str, str]]:
    out = io.StringIO(newline="")
    table.write(groups, out)
    return list(csv.DictReader(io.StringIO(out.getvalue())))


def test_a_line_a_sample_and_a_column_a_metric() -> None:
    samples = [Sample(0.5, "client", {"a": 1, "b": 0.25}), Sample(0.6, "server", {"c": 3})]
    assert written(({}, samples)) == [
        {"t": "0.5", "role": "client", "a": "1", "b": "0.25", "c": ""},
        {"t": "0.6", "role": "server", "a": "", "b": "", "c": "3"},
    ]


def test_runs_are_told_apart_by_further_columns() -> None:
    sample = [Sample(0.5, "client", {"a": 1})]
    rows = written(({"arm": "before, x"}, sample), ({"arm": "after"}, sample))
    assert [row["arm"] for row in rows] == ["before, x", "after"]


def test_nothing_is_lost(tmp_path: Path) -> None:
    write_run(tmp_path / "run", Plan(duration=1), seed=1)
    samples = rundir.read_samples(tmp_path / "run")
    rows = written(({}, samples))
    assert len(rows) == len(samples)
    for row, sample in zip(rows, samples, strict=True):
        kept = {k: float(v) for k, v in row.items() if v and k not in {"t", "role"}}
        assert kept == sample.values
        assert (float(row["t"]), row["role"]) == (sample.t, sample.role)


def test_no_samples_are_a_header() -> None:
    assert written() == []
    assert written(({}, [])) == []
