"""`lab compare`: compare two stored runs or experiments."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli.group import tell


@click.command()
@click.argument("first", metavar="DIR_A")
@click.argument("second", metavar="DIR_B")
@click.option(
    "--threshold",
    multiple=True,
    metavar="EXPR",
    help="A gate: what DIR_B may cost, such as 'latency_total: p(99) <= +5% vs before'; "
    "counts only when significant; exit 99 when it does not hold.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Also write the reports there.",
)
def command(first: str, second: str, threshold: tuple[str, ...], out: Path | None) -> None:
    """Compare any two stored runs or experiments; DIR_A stands for before.

    DIR:before and DIR:after name one arm of an experiment. Whatever differs besides the tuning,
    such as the kernel, the machine or the load, is listed first.

    Exit code 99 when DIR_B is worse or a gate does not hold, 3 when nothing can be said, else 0.
    """
    from lab import report
    from lab.analysis.exit import exit_code
    from lab.analysis.gates import parse_gate
    from lab.analysis.verdict import REGRESSION
    from lab.cli.edge import edge
    from lab.report.terminal import show
    from lab.report.writing import refreshed_index

    with edge():
        gates = [parse_gate(expression) for expression in threshold]
        comparison = report.compare_across(first, second, out=out, gates=gates)
    show(comparison)
    if out is not None:
        tell(f"report: {out / report.PAGE}")
        refreshed_index(out)
    sys.exit(int(exit_code(comparison, REGRESSION)))
