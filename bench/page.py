"""How long the page of a long experiment takes, and how large it is: `python -m bench.page`.

Writes an experiment of 20 trials of 60 s, at 10 samples a second and role with as many metrics as a
real trial has, and renders its page from the run directories, as `lab report` does. The figures in
it are made up, for only their number matters here. Fails at 3 s of CPU or 2 MB.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench import command
from lab.analysis.store import load
from lab.report import compare_stored
from lab.report.html import render
from loadgen.metrics import CATALOGUE
from loadgen.run.rundir import SAMPLES
from loadgen.sample import Sample, decode_lines, encode_line
from tests.lab.synthetic import Plan, write_experiment

SECONDS, BYTES = 3.0, 2_000_000
METRICS = 80
"""Metrics of a namespace in a real trial of the lab, 69 to 86."""


def widen(path: Path) -> None:
    """Add to each sample of a namespace the metrics that the made-up runs leave out."""
    names = [name for name in CATALOGUE if "*" not in name][:METRICS]
    lines = []
    for sample in decode_lines(path.read_bytes().splitlines()):
        more = {} if sample.role == "generator" else dict.fromkeys(names, 12345)
        lines.append(encode_line(Sample(sample.t, sample.role, more | sample.values)))
    path.write_bytes(b"".join(lines))


def main() -> int:
    command.options(__doc__, "page").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = write_experiment(
            Path(folder, "experiment"),
            trials=10,
            before=Plan(duration=60.0),
            after=Plan(duration=60.0, collapse=False),
        )
        for path in directory.glob(f"trials/*/{SAMPLES}"):
            widen(path)
        size = sum(path.stat().st_size for path in directory.glob(f"trials/*/{SAMPLES}"))
        print(f"20 trials of 60 s: {size / 1e6:.0f} MB of samples")
        stored = load(directory)
        comparison = compare_stored(stored)
        took = []
        for _ in range(3):
            began = time.process_time()
            page = render(stored, comparison)
            took.append(time.process_time() - began)
    length = len(page.encode())
    print(f"page: {min(took):.2f} s of CPU (of {len(took)}), {length / 1e6:.2f} MB")
    return 0 if min(took) < SECONDS and length < BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
