"""The C clients (`floor.c`, `uring.c`): compiled on the spot, and what they print as a record."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Late, Run
from lab.testbed.base import TestbedError

_HERE = Path(__file__).parent
_LIBRARIES = {"uring": ("-luring", "liburing-dev")}
"""By source, what it is linked with and the Debian package of that."""


def compiled(directory: Path, source: str = "floor", defines: Sequence[str] = ()) -> Path:
    """Return the compiled program, which lives in `directory`.

    Args:
        directory: where to put it, or to find it from the last time.
        source: the file's name without `.c`.
        defines: macros that make it do something differently.

    Raises:
        TestbedError: without gcc, or when it refuses the source; one line, with the remedy.
    """
    program = directory / "-".join((source, *defines))
    if program.exists():
        return program
    compiler = shutil.which("gcc")
    if compiler is None:
        raise TestbedError("gcc is not installed; install it with: apt install gcc libc6-dev")
    library, package = _LIBRARIES.get(source, ("", "libc6-dev"))
    words = [compiler, "-O2", "-Wall", "-Wextra", *(f"-D{name}" for name in defines)]
    done = subprocess.run(
        [*words, "-o", str(program), str(_HERE / f"{source}.c"), *filter(None, [library])],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise TestbedError(f"gcc: {said}; if it misses a header: apt install {package}")
    return program


def parse(printed: str) -> Run:
    """Return the run that a program's one line describes.

    Raises:
        ValueError: when it is not that line.
    """
    fields = printed.split()
    if len(fields) not in {4, 7}:
        raise ValueError(f"{printed!r} is not `connections seconds user system` [lateness]")
    connections, seconds, user, system = fields[:4]
    late = Late(*map(float, fields[4:])) if len(fields) > 4 else None
    return Run(int(connections), float(seconds), float(user), float(system), late)
