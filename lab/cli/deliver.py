"""Prints a sheet, writes its files beside its record, and lists it with the other reports."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from lab.report import PAGE, reports_index, sheet
from lab.report.sheet import Sheet
from loadgen.cli.group import write_to
from loadgen.files import write_whole, writing
from loadgen.foreign import Harmless, harmless
from loadgen.summary import encode

MARKDOWN = "summary.md"


def deliver(report: Sheet, record: msgspec.Struct, json_file: str | None, out: Path) -> None:
    """Print a report, on stdout or on stderr where that is the JSON, and write every file of it.

    Args:
        report: what to write and print.
        record: for `json_file`.
        json_file: where the record goes, too; `-` is stdout.
        out: the report's directory, which exists.

    Raises:
        WriteError: when a file cannot be written.
    """
    stream = sys.stderr if json_file == "-" else sys.stdout
    if stream.isatty():
        Console(file=stream).print(Harmless(sheet.renderable(report)))
    else:
        stream.write(sheet.text(report))
    stream.flush()
    with writing(out):
        for section in report.sections:
            if section.plot is not None:
                write_whole(out / section.plot.file, f"{section.plot.svg}\n".encode())
        write_whole(out / MARKDOWN, sheet.markdown(report).encode())
        write_whole(out / PAGE, sheet.page(report).encode())
        write_whole(out / sheet.LISTED, encode(report.listed()))
        reports_index(out.parent)
    write_to(json_file, encode(record))
    stream.write(harmless(f"report: {out / PAGE}\n"))
    stream.flush()
