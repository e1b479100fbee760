"""`lab report`: rebuild the reports of a stored experiment or run."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli.group import fail, tell
from loadgen.files import write_result


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Write the samples of all trials there instead, one line a sample, one column a metric.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Write the reports there instead, to publish them without the trials.",
)
@click.pass_context
def command(ctx: click.Context, directory: Path, csv_file: str | None, out: Path | None) -> None:
    """Rebuild every report of an experiment, an ablation or a sweep from its run directories.

    Works on an experiment that was interrupted, and on run directories that were cut off: the
    report then says what is missing. The exit code is that of the verdict and the gates, as with
    lab run. For a single run it does what loadgen report does.
    """
    from lab import report
    from lab.analysis.exit import exit_code
    from lab.analysis.store import is_run
    from lab.cli.edge import edge
    from lab.cli.rebuild import rebuild
    from lab.report.terminal import show
    from lab.report.writing import refreshed_index
    from loadgen.cli.report import command as of_one_run
    from loadgen.report import table

    with edge():
        if is_run(directory):
            if out is not None:
                fail(
                    f"--out is for experiments; {directory} holds a single run, whose page is in it"
                )
            ctx.invoke(
                of_one_run, directory=directory, json_file=None, csv_file=csv_file, junit=None
            )
        if csv_file:
            groups = report.samples(directory)
            if csv_file == "-":
                table.write(groups, sys.stdout)
            else:
                write_result(csv_file, table.render(groups))
            return
        if rebuild(directory, out):
            return
        stored, comparison = report.compared(directory)
        show(comparison)
        report.write_reports(out or directory, stored, comparison)
    tell(f"report: {(out or directory) / report.PAGE}")
    refreshed_index(out or directory)
    sys.exit(int(exit_code(comparison)))
