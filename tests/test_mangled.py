"""Directories that no run of ours wrote, read by every command that reads one; docs/reliability.md."""

from __future__ import annotations

from pathlib import Path

from tests.mangling.cases import try_one
from tests.mangling.stock import stock

SEEDS = 200
PATIENCE = 60.0
"""Seconds: the suite may share its processors; how long it takes is bench.mangled's matter."""


def test_whatever_is_in_a_directory_ends_in_a_report_or_one_line(tmp_path: Path) -> None:
    """No traceback, nothing unexpected, no hang, no memory, nothing written elsewhere."""
    whole = stock(tmp_path / "stock")
    for seed in range(SEEDS):
        case = try_one(seed, whole, tmp_path / "case", PATIENCE)
        assert not case.problems, case
