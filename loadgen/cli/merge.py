"""`loadgen merge`: add up the run directories of several shards."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli.group import write_to


@click.command()
@click.argument(
    "directory",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    show_default=True,
    metavar="FILE|-",
    help="Where the summary goes.",
)
@click.option("--quiet", is_flag=True, help="No text on stderr.")
def command(directory: tuple[Path, ...], json_file: str, *, quiet: bool) -> None:
    """Add up shards of one run (loadgen run --shard I/N) into one summary.

    Counts and histograms are added; percentiles are taken afterwards. A missing shard makes the
    result partial (exit 3); nothing is scaled up to make up for it.
    """
    from loadgen import summary
    from loadgen.cli.execute import exit_code
    from loadgen.fleet import store
    from loadgen.report import text

    merged = store.merge_directories(directory).summary
    if not quiet:
        sys.stderr.write(text.render(merged))
    write_to(json_file, summary.encode(merged))
    sys.exit(int(exit_code(merged)))
