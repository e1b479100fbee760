"""What every measurement's command has in common: options, the machine's line, errors in one line."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from lab.testbed.base import TestbedError
from lab.testbed.userns import ensure_privileges
from loadgen.sampling.namespace import NamespaceError

Measure = Callable[[argparse.Namespace], Awaitable[None]]


def options(doc: str | None, name: str) -> argparse.ArgumentParser:
    """Return a parser whose help is the measurement's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m bench.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def machine() -> str:
    """Return one line about the machine that the figures belong to."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{os.cpu_count()} CPUs ({model}), Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def run(measure: Measure, parser: argparse.ArgumentParser) -> None:
    """Carry out a measurement; what cannot be done here is one line on stderr and exit code 1."""
    chosen = parser.parse_args()
    try:
        ensure_privileges()
        print(machine(), flush=True)
        trio.run(partial(measure, chosen))
    except* (TestbedError, NamespaceError) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        sys.exit(f"error: {error}")
    except* KeyboardInterrupt:
        sys.exit(130)
