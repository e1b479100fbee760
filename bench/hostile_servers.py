"""`loadgen run` against every misbehaving server: its outcome, its time and its memory.

One run after the other, each with processes of its own. A row is as it should be when the run ends on
time (the load, one deadline, and what a server can hold up before it: the seed and a first look at its
statistics), when the accounting identity is exact, when every attempt ended in an outcome of the table
(`tests.loadgen.misbehaviour`), and when all processes of the run together hold at most 20 MB more than
against a healthy server of the same protocol. Ends with 1 when one is not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench import command
from bench.resident import descendants
from bench.table import table
from loadgen.outcome import Outcome
from loadgen.run import rundir
from loadgen.summary import Summary
from tests.loadgen.hostile import Hostile
from tests.loadgen.memcached import free_port
from tests.loadgen.misbehaviour import CASES, HEALTHY, Case

MORE = 20.0
"""Megabytes above a healthy run."""
LOAD = (
    "--rate",
    "100",
    "--duration",
    "0.3s",
    "--timeout",
    "1s",
    "--workers",
    "1",
    "--key-space",
    "1",
)
PATIENCE = 0.3 + 1.0 + 3.0 + 3.0 + 2.0
"""Seconds: the load, a deadline, the seed, and what a start and a conclusion take on two busy CPUs."""


@dataclass(frozen=True)
class Run:
    """What one run came to."""

    case: Case
    seconds: float
    megabytes: float
    summary: Summary | None
    said: str

    def wrong(self, healthy: float) -> list[str]:
        """Return what is not as it should be."""
        found = []
        if self.summary is None:
            return [f"no summary: {self.said[-200:]!r}"]
        ended = {*map(Outcome, self.summary.outcomes), *([Outcome.OK] if self.summary.ok else [])}
        if not ended <= self.case.outcomes:
            found.append(f"outcome {', '.join(sorted(ended - self.case.outcomes))}")
        if self.summary.unaccounted() or self.summary.unfinished:
            found.append("identity")
        if self.seconds > PATIENCE:
            found.append("time")
        if self.megabytes > healthy + MORE:
            found.append("memory")
        if "unexpected" in self.said or "Traceback" in self.said:
            found.append("unexpected")
        return found


def most_held(process: subprocess.Popen[str]) -> float:
    """Return the most megabytes that a run's processes held at once, until it ends.

    What processes share is counted once (Pss, proc(5)): a child that has not yet become another
    program shares everything.
    """
    most = 0
    while process.poll() is None:
        held = 0
        for pid in (process.pid, *descendants(process.pid)):
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        held += int(line.split()[1])
        most = max(most, held)
        time.sleep(0.02)
    return most / 1000


def run(case: Case, address: tuple[str, int]) -> Run:
    """Run loadgen against a server that listens already."""
    host, port = address
    words = [f"{case.scheme}://{host}:{port}", *LOAD, "--close", case.close]
    if case.scheme == "memcacheds":
        words.append("--tls-insecure")
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        with Path(folder, "said").open("w+") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "loadgen", "run", *words, "--out", f"{folder}/run"],
                stdout=said,
                stderr=said,
                text=True,
            )
            megabytes = most_held(process)
            seconds = time.monotonic() - begin
            said.seek(0)
            summary = rundir.read_summary(Path(folder, "run"))
            return Run(case, seconds, megabytes, summary, said.read())


def treated(case: Case) -> Run:
    """Run loadgen against the case's server."""
    if case.behaviour is None:
        return run(case, ("127.0.0.1", free_port()))
    with Hostile(case.behaviour) as server:
        return run(case, server.address)


def main() -> None:
    parser = command.options(__doc__, "hostile_servers")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    chosen: argparse.Namespace = parser.parse_args()
    print(command.machine(), flush=True)
    healthy = {case.scheme: treated(case) for case in HEALTHY}
    rows, bad = [], 0
    for case in (*HEALTHY, *(one for one in CASES if chosen.only in one.id)):
        found = healthy[case.scheme] if case in HEALTHY else treated(case)
        wrong = found.wrong(healthy[case.scheme].megabytes)
        bad += bool(wrong)
        outcomes = ", ".join(sorted(found.summary.outcomes)) if found.summary else ""
        more = found.megabytes - healthy[case.scheme].megabytes
        rows.append(
            (
                case.id,
                outcomes or "ok",
                f"{found.seconds:.1f}",
                f"{more:+.1f}",
                ", ".join(wrong) or "–",
            )
        )
        print(f"{case.id}: {', '.join(wrong) or 'as it should be'}", file=sys.stderr, flush=True)
    print(table(("server", "outcome", "s", "MB more", "wrong"), rows))
    print(f"{len(rows) - bad} of {len(rows)} as they should be")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
