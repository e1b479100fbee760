"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

json_file: Final = click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Also write the summary there.",
)
junit: Final = click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    metavar="FILE",
    help="Also write the thresholds as JUnit test cases.",
)
quiet: Final = click.option("--quiet", is_flag=True, help="No progress and no summary on stderr.")
directory: Final = click.argument(
    "directory", type=click.Path(path_type=Path, file_okay=False, exists=True)
)
