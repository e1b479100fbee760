"""`lab ablate`: which line of a tuning does the work."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from lab.cli import options
from loadgen.cli import types

_EPILOG = (
    "Exit codes as of lab run, for all lines against none: 0 when the tuning prevents or reduces "
    "the failures, 99 when it does not, 3 when it could not be decided or no line of it can do "
    "anything here."
)


@click.command(epilog=_EPILOG)
@click.option(
    "--after",
    required=True,
    metavar="TUNING",
    help="What to take apart: a built-in tuning or a sysctl.d file.",
)
@click.option(
    "--line",
    "only",
    multiple=True,
    metavar="KEY",
    help="Weigh this line only; may be repeated.  [default: every line]",
)
@options.rate
@click.option(
    "--duration", type=types.DURATION, default="5s", show_default=True, help="Of each trial."
)
@click.option(
    "--trials",
    type=click.IntRange(1, 1000),
    default=None,
    help="Trials of each arm.  [default: 6, or as many as the number of comparisons takes]",
)
@options.servers
@options.clients
@options.close
@options.timeout
@options.workers
@options.local_port_range
@click.option(
    "--conntrack",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Track connections on the server's side; auto: when a line is about that.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where the report goes.  [default: reports/ablation-TIME]",
)
@options.json_file
@options.quiet
def command(**chosen: Any) -> None:
    """Leave out each line of a tuning, and try each alone, to see which does the work.

    Lines that cannot do anything here, because they are the host's or set what is there anyway, are
    found out first and cost no trial.
    """
    from lab.cli import ablate_run
    from lab.cli.asked import AblateOptions
    from lab.cli.edge import edge

    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    out = chosen["out"] or Path("reports", f"ablation-{stamp}")
    with edge(lambda: "interrupted before the first trial ended"):
        code = ablate_run.execute(AblateOptions(**chosen), out)
    sys.exit(int(code))
