"""Rebuilds the reports other than before/after: of an ablation, a sweep, a validation."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from lab.ablate.records import LINES
from lab.analysis.store import StoreError
from lab.cli.deliver import deliver
from lab.sweep.records import Sweep, Validation
from lab.sweep.render import sweep_sheet, validation_sheet
from lab.sweep.run import SWEEP
from lab.sweep.validate import VALIDATION
from loadgen.files import ReadError, read_record, writing

_T = TypeVar("_T")


def rebuild(directory: Path, out: Path | None = None) -> bool:
    """Rebuild and show the report of `directory`; return False when it is none of these.

    Args:
        directory: what an ablation, a sweep or a validation left.
        out: where the report goes; None for where the record is.

    Raises:
        StoreError: when its record cannot be read.
        WriteError: when a file cannot be written.
    """
    if not any((directory / name).exists() for name in (LINES, SWEEP, VALIDATION)):
        return False
    target = out or directory
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
    if (directory / LINES).exists():
        from lab.cli.ablate_run import report

        report(directory, out=target)
    elif (directory / SWEEP).exists():
        sweep = _read(directory / SWEEP, Sweep)
        deliver(sweep_sheet(sweep), sweep, None, target)
    else:
        validation = _read(directory / VALIDATION, Validation)
        deliver(validation_sheet(validation), validation, None, target)
    return True


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        return read_record(path, kind)
    except ReadError as error:
        raise StoreError(str(error)) from None
