"""What the machine itself takes away while all of its CPUs are busy, without any network.

One program a CPU does nothing but read the clock, for a share of every millisecond, and notes the
gaps. What is lost here no generator can give back: an arrival that falls due in a gap is late by the
rest of it. On a virtual machine the gaps are the hypervisor's, whether it reports them (`steal`) or
not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import command, floor
from bench.figures import spread
from bench.table import table


@dataclass(frozen=True, slots=True)
class Gaps:
    """What one program noted."""

    busy: float
    lost: float
    longest: float
    above: int
    """Longer than 0.3 ms."""
    far_above: int
    """Longer than 3 ms."""


def parse(printed: str) -> Gaps:
    """Return what the program printed.

    Raises:
        ValueError: when it is not its line.
    """
    busy, lost, longest, above, far_above = printed.split()
    return Gaps(float(busy), float(lost), float(longest), int(above), int(far_above))


def together(program: Path, seconds: float, share: float) -> list[Gaps]:
    """Run the program on every CPU at once."""
    running = [
        subprocess.Popen(
            [str(program), str(cpu), str(seconds), str(share)], stdout=subprocess.PIPE, text=True
        )
        for cpu in sorted(os.sched_getaffinity(0))
    ]
    return [parse(process.communicate()[0]) for process in running]


async def measure(chosen: argparse.Namespace) -> None:
    rows = []
    with tempfile.TemporaryDirectory(prefix="churnlab-bench-") as scratch:
        program = floor.compiled(Path(scratch), "jitter")
        for share in chosen.shares:
            found = [
                gaps
                for _ in range(chosen.rounds)
                for gaps in together(program, chosen.seconds, share)
            ]
            rows.append(
                (
                    f"{share:.0%}",
                    spread(gaps.lost / gaps.busy for gaps in found).text(".2%"),
                    spread(gaps.longest * 1e3 for gaps in found).text(".2f"),
                    spread(gaps.above / chosen.seconds for gaps in found).text(".1f"),
                    spread(gaps.far_above / chosen.seconds for gaps in found).text(".1f"),
                )
            )
    heads = ("each CPU busy", "lost (range)", "longest gap, ms", "gaps > 0.3 ms a second")
    print(table((*heads, "> 3 ms"), rows))


def main() -> None:
    parser = command.options(__doc__, "jitter")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 0.7, 0.85, 1.0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    command.run(measure, parser)


if __name__ == "__main__":
    main()
