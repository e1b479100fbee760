"""How long it takes to conclude a run from its files, and how much memory, by the run's length.

The server of this run never answers, which asks most of the rules: for each tick in which attempts
timed out they want to know what the server did meanwhile. The files are written for the purpose, at
the size that they have in a real run; each length is concluded in a process of its own.

What counts is CPU: nothing is waited for. Goals: under 2 s for 20 minutes, and at most a quarter more
than in proportion to the length.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Final

from bench import command, directories
from bench.table import table
from loadgen.accounting.messages import Totals
from loadgen.config import RunConfig
from loadgen.run import stored
from loadgen.summary import Number

GOAL: Final = 2.0
"""Seconds for a run of `LONG` minutes."""
LONG: Final = 20.0
WORSE: Final = 1.25
"""How much more than proportionally the time may grow with the length."""
_RATE = 1000
_TIMEOUT = 1.0


def _totals(t: float) -> Totals:
    started = int(t * _RATE)
    failed = int(max(0.0, t - _TIMEOUT) * _RATE)
    totals = Totals(
        scheduled=started,
        started=started,
        failed=failed,
        unfinished=started - failed,
        connect_calls=started,
        connect_call_seconds=started * 25e-6,
        cpu_user=t / 20,
        cpu_system=t / 10,
    )
    if failed:
        totals.outcomes = {"reply_timeout": failed}
        totals.first_failure_at, totals.started_before_first_failure = _TIMEOUT, _RATE
    return totals


def _readings(_: int) -> Mapping[str, Mapping[str, Number]]:
    """Return a kernel whose counters stand still: nothing has happened that would explain it."""
    return directories.kernel(1)


def build(path: Path, minutes: float) -> None:
    """Write the files of such a run."""
    config = RunConfig(
        targets=["198.18.0.2:11211"],
        addresses=[("198.18.0.2", 11211)],
        rate=float(_RATE),
        duration=minutes * 60,
        timeout=_TIMEOUT,
        connect_timeout=_TIMEOUT,
        max_in_flight=4 * _RATE,
    )
    directories.write(path, config, _totals, _readings)


def one(path: Path) -> None:
    """Conclude one run, and print what it took as JSON."""
    before = getrusage(RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    run = stored.read(path)
    read = time.process_time()
    summary = run.summary()
    ended = time.process_time()
    assert [cause.cause for cause in summary.causes] == ["server_silent"], summary.causes
    grown = (getrusage(RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps({"read": read - begun, "conclude": ended - read, "bytes": grown}))


def _taken(path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.conclude", "--one", str(path)],
        check=True,
        capture_output=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = command.options(__doc__, "conclude")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0, 20.0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one is not None:
        one(chosen.one)
        return
    print(command.machine(), flush=True)
    seconds = []
    rows = []
    with tempfile.TemporaryDirectory(prefix="churnlab-conclude-") as temporary:
        for minutes in chosen.minutes:
            path = Path(temporary, f"{minutes:g}")
            build(path, minutes)
            size = sum(file.stat().st_size for file in path.iterdir())
            rounds = [_taken(path) for _ in range(chosen.rounds)]
            read, concluded, grown = (
                median(taken[name] for taken in rounds) for name in ("read", "conclude", "bytes")
            )
            seconds.append(read + concluded)
            rows.append(
                (
                    f"{minutes:g}",
                    f"{size / 1e6:.0f}",
                    f"{read:.2f}",
                    f"{concluded:.2f}",
                    f"{seconds[-1]:.2f}",
                    f"{grown / 1e6:.0f}",
                )
            )
    print(
        table(
            ("minutes", "MB of files", "read, s of CPU", "conclude", "both", "MB of memory"), rows
        )
    )
    length = chosen.minutes[-1] / chosen.minutes[0]
    ratio = seconds[-1] / seconds[0]
    print(f"{length:.3g} times the length in {ratio:.2f} times the time")
    met = seconds[-1] < GOAL * max(1.0, chosen.minutes[-1] / LONG) and ratio <= WORSE * length
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
