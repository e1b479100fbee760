"""A change to the generator: another revision against the working tree, in turn.

    python -m bench.change main                      the closed loop
    python -m bench.change HEAD~1 --rate 10000       the open loop: compare CPU and lateness

The revision is checked out into a temporary directory and run with the same interpreter and
libraries. Hot-path changes carry these ratios in their commit message.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from bench import arms, command
from bench.figures import Run, spread
from bench.site import Ground, add_options, ground, run_of
from bench.table import table
from lab.testbed.base import TestbedError
from loadgen.summary import Summary

_ROOT = Path(__file__).parent.parent


def extract(revision: str, directory: Path) -> None:
    """Put the generator of a git revision into `directory`.

    Raises:
        TestbedError: when there is no such revision.
    """
    done = subprocess.run(
        ["git", "-C", str(_ROOT), "archive", "--format=tar", revision, "loadgen"],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.decode().strip().splitlines() or ["no message"])[0]
        raise TestbedError(f"git archive {revision}: {said}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")


def with_generator(site: Ground, tree: Path, python: str = sys.executable) -> Ground:
    """Return the same ground, where `loadgen` is the one in `tree`, under another interpreter."""
    # `python -m` puts the working directory before PYTHONPATH, unless -P says not to.
    paths = ("PYTHONSAFEPATH=1", f"PYTHONPATH={tree}")
    words = ("env", *paths, python, "-m", "loadgen", "run")
    return dataclasses.replace(site, site=dataclasses.replace(site.site, command=words))


def late(summaries: Mapping[str, list[Summary]]) -> str:
    """Return a table of how late the arrivals of open-loop runs were."""
    rows = []
    for name, found in summaries.items():
        lateness = [s.lateness for s in found if s.lateness is not None]
        rows.append(
            (
                name,
                *(
                    spread(getattr(one, field) * 1e6 for one in lateness).text()
                    for field in ("p50", "p99", "p99_9", "max")
                ),
                spread(s.dropped for s in found).text(),
            )
        )
    return table(("lateness, µs", "p50", "p99", "p99.9", "max", "dropped"), rows)


async def measure(chosen: argparse.Namespace) -> None:
    summaries: dict[str, list[Summary]] = {chosen.revision: [], "working tree": []}
    pace = (
        ("--rate", "max", "--concurrency", str(chosen.concurrency))
        if chosen.rate is None
        else ("--rate", str(chosen.rate), "--schedule", chosen.schedule)
    )
    async with ground(chosen) as site:
        before, after = site.scratch / "before", site.scratch / "after"
        before.mkdir()
        extract(chosen.revision, before)
        # A copy, so that whoever goes on working does not change what is measured.
        shutil.copytree(_ROOT / "loadgen", after / "loadgen")

        def arm(name: str, tree: Path) -> arms.Arm:
            async def run() -> Run:
                words = (*pace, "--duration", f"{chosen.seconds}s", "--workers", "1")
                summary, _ = await with_generator(site, tree).loadgen(*words)
                summaries[name].append(summary)
                return run_of(summary)

            return run

        trees = zip(summaries, (before, after), strict=True)
        sides = {name: arm(name, tree) for name, tree in trees}
        found = await arms.interleave(site, sides, chosen.rounds)
    print(arms.compared(found, chosen.revision))
    if chosen.rate is not None:
        print(late(summaries))


def main() -> None:
    parser = command.options(__doc__, "change")
    parser.add_argument("revision", help="of git, such as main or HEAD~1")
    parser.add_argument("--rate", type=float, default=None, help="open loop instead")
    parser.add_argument("--schedule", default="constant", choices=["constant", "poisson"])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--concurrency", type=int, default=64)
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
