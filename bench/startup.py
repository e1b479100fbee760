"""How long the commands take before they do anything, and what `lab run` spends besides load.

Goals: `loadgen --version` and `--help` under 150 ms; `lab run` under a tenth of its time outside
trials. Both kinds of time outside are given: everything that is not a run of loadgen, and everything
that is not load, starting and ending of loadgen included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import msgspec
import trio

from bench import command
from bench.figures import in_turn, spread
from bench.table import table
from lab.analysis.records import Experiment
from lab.analysis.store import EXPERIMENT
from lab.testbed.base import TestbedError
from loadgen.run.rundir import SUMMARY, read_summary

GOAL = 0.150
_COMMANDS = ("loadgen --version", "loadgen --help", "lab --version", "lab --help")


def seconds_of(words: list[str]) -> float:
    """Return how long a command of ours takes.

    Raises:
        TestbedError: when it fails.
    """
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    # lab run's own verdict (99) and an inconclusive one (3) are no failure of the command.
    if done.returncode not in {0, 3, 99}:
        raise TestbedError(
            f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-300:]!r}"
        )
    return time.monotonic() - begin


def trials_of(directory: Path) -> tuple[float, float]:
    """Return the seconds that an experiment's trials took, and those of them that were load.

    A trial begins before its namespaces are made and ends with its last file.
    """
    experiment = msgspec.json.decode((directory / EXPERIMENT).read_bytes(), type=Experiment)
    took = load = 0.0
    for trial in experiment.trials:
        place = directory / trial.directory
        summary = read_summary(place)
        assert summary is not None
        began = datetime.fromisoformat(trial.started_at).timestamp()
        took += (place / SUMMARY).stat().st_mtime - began
        load += summary.elapsed
    return took, load


async def measure(chosen: argparse.Namespace) -> None:
    times: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for _, name in in_turn(_COMMANDS, chosen.rounds):
        times[name].append(seconds_of(name.split()))
    rows = [(name, spread(t * 1e3 for t in found).text()) for name, found in times.items()]
    print(table(("median (range)", "ms"), rows))
    print(f"goal: {GOAL * 1e3:.0f} ms", flush=True)
    with tempfile.TemporaryDirectory(prefix="churnlab-bench-") as scratch:
        out = Path(scratch, "experiment")
        whole = await trio.to_thread.run_sync(
            seconds_of,
            [
                *("lab", "run", "--rate", str(chosen.rate), "--trials", str(chosen.trials)),
                *("--duration", f"{chosen.seconds}s", "--quiet", "--out", str(out)),
            ],
        )
        took, load = trials_of(out)
    print(
        f"lab run, {chosen.trials} trials of {chosen.seconds:g} s an arm: {whole:.1f} s, of which "
        f"{1 - took / whole:.1%} outside trials (goal 10%), {1 - load / whole:.1%} without load"
    )


def main() -> None:
    parser = command.options(__doc__, "startup")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rate", type=int, default=2000, help="of lab run")
    parser.add_argument("--trials", type=int, default=5, help="of lab run")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each trial")
    command.run(measure, parser)


if __name__ == "__main__":
    main()
