"""`loadgen report`: rebuild the summary of a run directory, a truncated one too."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli.group import fail


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Also write the summary there.",
)
def command(directory: Path, json_file: str | None) -> None:
    """Rebuild summary.json from the run's other files, and print it.

    Works on a run that was killed, too: the summary then covers what was recorded, and says so.
    """
    from loadgen import rundir, stored, summary
    from loadgen.cli.execute import exit_code
    from loadgen.report import text

    try:
        rebuilt = stored.read(directory).summary()
    except stored.StoredError as error:
        fail(str(error))
    rundir.write_summary(directory, rebuilt)
    sys.stderr.write(text.render(rebuilt, directory))
    if json_file == "-":
        sys.stdout.buffer.write(summary.encode(rebuilt))
        sys.stdout.flush()
    elif json_file:
        Path(json_file).write_bytes(summary.encode(rebuilt))
    sys.exit(int(exit_code(rebuilt)))
