"""`python -m tests.fuzz`: a range of command lines, one after the other, in a process that can do no harm.

Prints a JSON object: how many lines, the most memory, and each `Fault`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

import lab.cli
import loadgen.cli
from tests.fuzz.attempt import attempt, held
from tests.fuzz.confined import confine, no_deeds
from tests.fuzz.lines import Lines, commands
from tests.fuzz.running import Found

GOOD = "net.ipv4.ip_local_port_range = 1024 65535\nnet.ipv4.tcp_tw_reuse = 1\n"
BAD = "net.ipv4.ip_local_port_range = 9 1\x1b[2J\nno.such.key = 1\n=\nkernel.panic\n"


def furnish(directory: Path) -> None:
    """Make the files that the lines name."""
    for name in ("empty", "experiment/trials", "state"):
        (directory / name).mkdir(parents=True)
    for name, text in (("file", "x\n"), ("good.conf", GOOD), ("bad.conf", BAD), ("vmlinuz", "x")):
        (directory / name).write_text(text)
    (directory / "loop").symlink_to("loop")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--within", type=Path, required=True, help="an empty directory")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--show", action="store_true", help="the lines, on stderr, before each")
    chosen = parser.parse_args()
    groups = {"loadgen": loadgen.cli.command_group(), "lab": lab.cli.command_group()}
    faults = []
    # Deep inside, so that `..` is within it too.
    here = chosen.within / "a" / "b" / "c"
    here.mkdir(parents=True)
    furnish(here)
    confine(chosen.within)
    os.chdir(here)
    lines = Lines(commands(list(groups.items())), chosen.seed)
    with no_deeds():
        for number in range(chosen.first, chosen.first + chosen.count):
            words = lines.line(number)
            if chosen.show:
                print(number, ascii([word[:200] for word in words]), file=sys.stderr, flush=True)
            fault = attempt(groups[words[0]], number, words)
            if fault is not None:
                faults.append(fault)
    print(msgspec.json.encode(Found(chosen.count, held(), faults)).decode())


if __name__ == "__main__":
    main()
