"""How a command ends: the exit codes of `loadgen` and `lab`, and the errors that a user reads."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """The exit codes of both commands; the first two and the last are the shell's custom."""

    PASS = 0
    UNEXPECTED = 1
    USAGE = 2
    INVALID = 3
    FAILED = 99
    INTERRUPTED = 130


class ChurnlabError(Exception):
    """Base of the errors that a user reads: what is wrong, and what to do about it.

    The command line prints `str(error)`, one line, and exits with the class's `code`. A report
    shows the two halves apart; nobody has to find the seam in a sentence.

    Args:
        problem: names the offender; no full stop at the end.
        remedy: what helps, in the imperative; empty where the problem says it all.
    """

    code: ClassVar[Exit] = Exit.USAGE
    """What the command exits with."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem
