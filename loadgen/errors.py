"""How a command ends: the exit codes of `loadgen` and `lab`."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of both commands; the first two and the last are the shell's custom."""

    PASS = 0
    UNEXPECTED = 1
    USAGE = 2
    INVALID = 3
    FAILED = 99
    INTERRUPTED = 130
