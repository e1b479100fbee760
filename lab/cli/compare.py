"""`lab compare`: compare two stored runs or experiments."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli.group import fail


@click.command()
@click.argument("first", metavar="DIR_A")
@click.argument("second", metavar="DIR_B")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Also write the reports there.",
)
def command(first: str, second: str, out: Path | None) -> None:
    """Compare any two stored runs or experiments; DIR_A stands for before.

    DIR:before and DIR:after name one arm of an experiment. Whatever differs besides the tuning,
    such as the kernel, the machine or the load, is listed first.
    """
    from lab import report
    from lab.cli.execute import EXIT_OF_VERDICT, show
    from lab.store import StoreError

    try:
        comparison = report.compare_across(first, second, out=out)
    except StoreError as error:
        fail(str(error))
    show(comparison)
    if out is not None:
        click.echo(f"report: {out / report.PAGE}")
    sys.exit(int(EXIT_OF_VERDICT[comparison.verdict]))
