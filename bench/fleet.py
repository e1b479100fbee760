"""A fleet of 1,000 shards for 60 s, on files: how long adding it up takes, and how much memory.

Nobody here has a thousand machines, so this is a simulation of what comes home of them: run
directories with samples ten times a second, histograms of 20,000 connections a second and digests,
as shards write them; a few shards have died without a digest, and control makes theirs. The files of
samples are links to a few templates', at their real size. What is measured is the real command,
`loadgen report`, in a process of its own: reading, adding up, judging, summary and page.

Goal: under 30 s and under 1 GB; and the live view draws 1,000 shards in a tenth of a second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from bench import directories
from loadgen.accounting.messages import Totals
from loadgen.config import RunConfig
from loadgen.fleet import live, store
from loadgen.fleet.record import FILE, Fleet, Seat
from loadgen.report import page
from loadgen.run import rundir, stored
from loadgen.summary import Clock

SHARDS, SECONDS, RATE, DEAD = 1000, 60, 20_000.0, 5
SECONDS_GOAL, BYTES_GOAL, DRAW_GOAL = 30.0, 1 << 30, 0.1
_TEMPLATES = 4


def _totals(t: float) -> Totals:
    due = int(t * RATE)
    totals = Totals(
        scheduled=due, started=due, ok=due, connect_calls=due, cpu_user=t / 3, cpu_system=t / 2
    )
    totals.replies = {"hit": due}
    return totals


def _write(path: Path, count: int, seed: int, seconds: int) -> None:
    """Write the run directory of a shard, as its loadgen and the shard itself leave it."""
    config = RunConfig(
        targets=["198.18.0.1:11211"],
        addresses=[("198.18.0.1", 11211)],
        rate=RATE * count,
        duration=float(seconds),
        max_in_flight=1000,
        shard=(0, count),
    )
    directories.write(path, config, _totals, seed=seed)
    rundir.write_summary(path, stored.read(path).summary())
    store.write_digest(path)
    page.write(stored.salvage(path))


def _replace_shard(data: bytes, index: int, count: int) -> bytes:
    """Return a file about the first shard as one about another."""
    old = b'"shard":[0,%d]' % count
    return data.replace(old, b'"shard":[%d,%d]' % (index, count)).replace(
        b'"shard": [\n      0,', b'"shard": [\n      %d,' % index
    )


def build(folder: Path, shards: int, seconds: int) -> None:
    """Write what comes home of a fleet."""
    templates = [folder / f"template-{number}" for number in range(_TEMPLATES)]
    for number, template in enumerate(templates):
        _write(template, shards, number, seconds)
    seats = []
    for index in range(shards):
        dead = index < DEAD
        seat = Seat(
            index=index,
            seat=str(index),
            node=f"node-{index + 1}",
            clock=Clock(offset=0.001, uncertainty=0.0002, drift=0.0),
            home=not dead,
            said="its container is gone (killed)" if dead else "",
        )
        seats.append(seat)
        template, place = templates[index % _TEMPLATES], folder / seat.directory
        place.mkdir(parents=True)
        for file in template.iterdir():
            if file.suffix == ".json":
                data = _replace_shard(file.read_bytes(), index, shards)
                if not (dead and file.name in {store.DIGEST, rundir.SUMMARY}):
                    (place / file.name).write_bytes(data)
            else:
                os.link(file, place / file.name)
        if dead:
            about = msgspec.json.decode((place / rundir.RUN).read_bytes())
            (place / rundir.RUN).write_bytes(msgspec.json.encode(about | {"ended": None}))
    for template in templates:
        shutil.rmtree(template)
    fleet = Fleet(
        kind="wait",
        run="bench",
        arguments=[],
        thresholds=["failed: rate == 0"],
        seats=seats,
        host="198.18.0.9",
        port=1,
        seconds=float(seconds),
        duration=float(seconds),
        start=0.0,
        ended=True,
    )
    (folder / FILE).write_bytes(msgspec.json.encode(fleet))


def merge(folder: Path) -> tuple[float, float, int]:
    """Run `loadgen report`; return seconds, CPU seconds, greatest resident memory in bytes."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "loadgen", "report", str(folder)],
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 3}:
        raise SystemExit(f"loadgen report ended with {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return time.monotonic() - begun, cpu, usage.ru_maxrss * 1024


def draw(shards: int) -> float:
    """Return how many seconds it takes to draw the live view of so many shards."""
    before = [
        live.Row(label=f"shard {i}", here=True, home=False, t=1.0, totals=Totals())
        for i in range(shards)
    ]
    now = [
        live.Row(
            label=f"shard {i}",
            here=True,
            home=False,
            t=2.0,
            totals=Totals(scheduled=i, started=i, ok=i, failed=i % 7),
        )
        for i in range(shards)
    ]
    begun = time.perf_counter()
    text = live.block(2.0, 60.0, before, now)
    assert text.count("\n") == min(shards + 1, live.ROWS + 2)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.fleet")
    parser.add_argument("--shards", type=int, default=SHARDS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="churnlab-fleet-") as temporary:
        folder = Path(temporary)
        build(folder, options.shards, options.seconds)
        first = folder / "shards" / f"{DEAD + 1:03d}-node-{DEAD + 1}"
        sizes = {file.name: file.stat().st_size for file in sorted(first.iterdir())}
        print("one shard's files: " + ", ".join(f"{n} {s / 1e3:,.0f} KB" for n, s in sizes.items()))
        seconds, cpu, memory = merge(folder)
        summary = rundir.read_summary(folder)
        assert summary is not None
        assert summary.unaccounted() == 0
        due = int(RATE * options.seconds) * options.shards
        print(
            f"{options.shards:,} shards x {options.seconds} s: {seconds:.1f} s "
            f"({cpu:.1f} s of CPU; goal {SECONDS_GOAL:g}), {memory / 1e6:,.0f} MB (goal {BYTES_GOAL / 1e6:,.0f}), "
            f"{summary.scheduled:,} of {due:,} arrivals accounted for, "
            f"{(folder / rundir.SUMMARY).stat().st_size / 1e3:,.0f} KB of summary, "
            f"{(folder / page.PAGE).stat().st_size / 1e3:,.0f} KB of page"
        )
    took = draw(options.shards)
    print(f"live view: {took * 1e3:.1f} ms a draw (goal {DRAW_GOAL * 1e3:g})")
    met = seconds < SECONDS_GOAL and memory < BYTES_GOAL and took < DRAW_GOAL
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
