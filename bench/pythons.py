"""loadgen's closed loop under other interpreters, in turn with this one.

    python -m bench.pythons /path/to/python3.13 …

Each interpreter needs loadgen's dependencies (an environment of its own, `pip install .`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path

from bench import arms, command
from bench.change import with_generator
from bench.site import add_options, ground
from lab.testbed.base import TestbedError

_ROOT = Path(__file__).parent.parent


def version_of(python: str) -> str:
    """Return an interpreter's version, once it is certain that loadgen runs under it.

    Raises:
        TestbedError: when it does not.
    """
    check = "import platform, loadgen.engine.worker; print(platform.python_version())"
    try:
        done = subprocess.run(
            [python, "-c", check], cwd=_ROOT, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise TestbedError(f"{python}: {error.strerror}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise TestbedError(f"{python} does not run loadgen: {last}; pip install . with it")
    return done.stdout.strip()


async def measure(chosen: argparse.Namespace) -> None:
    pythons = {version_of(python): python for python in (sys.executable, *chosen.python)}
    async with ground(chosen) as site:
        found = await arms.interleave(
            site,
            {
                version: partial(
                    with_generator(site, _ROOT, python).closed_loop, chosen.seconds, 64
                )
                for version, python in pythons.items()
            },
            chosen.rounds,
        )
    print(arms.compared(found, next(iter(pythons))))


def main() -> None:
    parser = command.options(__doc__, "pythons")
    parser.add_argument("python", nargs="+", help="interpreters with loadgen's dependencies")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
