"""What a comparison means to a pipeline: the exit code, the same however it came about."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, get_args

from lab.analysis.records import Comparison, VerdictName
from lab.analysis.verdict import FAILS, UNMEASURED
from loadgen.errors import Exit

EXIT_OF_VERDICT: Final[Mapping[VerdictName, Exit]] = {
    **dict.fromkeys(get_args(VerdictName), Exit.PASS),
    **dict.fromkeys(FAILS, Exit.FAILED),
    **dict.fromkeys(UNMEASURED, Exit.INVALID),
}
"""What the verdict of an experiment stands for, gates apart."""


def exit_code(comparison: Comparison, fails: AbstractSet[VerdictName] = FAILS) -> Exit:
    """Return 99 for a broken gate or a verdict in `fails`, 3 where nothing was measured, else 0."""
    if not all(gate.passed for gate in comparison.gates) or comparison.verdict in fails:
        return Exit.FAILED
    return Exit.INVALID if comparison.verdict in UNMEASURED else Exit.PASS
