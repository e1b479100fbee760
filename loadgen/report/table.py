"""Samples as CSV (RFC 4180), for a spreadsheet or a data frame.

One line a sample, as in `samples.jsonl`: its moment and its role, then a column for every metric
that any sample has. What a sample has no reading of is empty, never zero.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import IO

from loadgen.foreign import cell
from loadgen.sample import Sample

Group = tuple[Mapping[str, str], Sequence[Sample]]
"""What all samples of one run have in common, by column, such as its arm; and the samples."""


def render(groups: Iterable[Group]) -> bytes:
    """Return the table, UTF-8; `write` has the details."""
    text = StringIO(newline="")
    write(groups, text)
    return text.getvalue().encode()


def write(groups: Iterable[Group], out: IO[str]) -> None:
    """Write the samples of one run, or of several that are told apart by further columns.

    Args:
        groups: the runs, with the same further columns each.
        out: opened with `newline=""`.
    """
    kept = list(groups)
    common = list(kept[0][0]) if kept else []
    metrics = sorted({name for _, samples in kept for item in samples for name in item.values})
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(map(cell, [*common, "t", "role", *metrics]))
    for labels, samples in kept:
        start = [labels[column] for column in common]
        for item in samples:
            readings = (item.values.get(name, "") for name in metrics)
            lines.writerow([*map(cell, start), item.t, cell(item.role), *readings])
