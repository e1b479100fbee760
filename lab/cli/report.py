"""`lab report`: rebuild the reports of a stored experiment or run."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.cli.group import fail


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
def command(directory: Path) -> None:
    """Rebuild every report of an experiment from its run directories.

    Works on an experiment that was interrupted, and on run directories that were cut off: the
    report then says what is missing.
    """
    from lab import report
    from lab.cli.execute import show
    from lab.store import StoreError

    try:
        comparison = report.write_all(directory)
    except StoreError as error:
        fail(str(error))
    show(comparison)
    click.echo(f"report: {directory / report.PAGE}")
