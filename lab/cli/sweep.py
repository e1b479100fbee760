"""`lab sweep`: the measured capacity of tunings, and the validation of the capacity model."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from lab.cli import options
from loadgen.cli import types

_EPILOG = (
    "Exit codes: 0 when what was measured agrees with the prediction, 99 when it does not, 3 when "
    "this machine could not measure it. A validation takes about 80 s, a tuning about 45 s."
)


def _precision(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{text!r} is not a share: write 5% or 0.05") from None
    if not 0.005 <= value <= 0.5:
        raise ValueError(f"{text!r}: a precision is between 0.5% and 50%")
    return value


@click.command(epilog=_EPILOG)
@click.option(
    "--tuning",
    "tunings",
    multiple=True,
    metavar="TUNING",
    help="A built-in tuning or a sysctl.d file; may be repeated.  [default: all built-in ones]",
)
@click.option(
    "--validate",
    is_flag=True,
    help="Instead, measure small situations against the capacity model: predicted, measured, error.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="With --validate, this situation only; repeatable.",
)
@click.option("--list", "only_list", is_flag=True, help="With --validate, name the situations.")
@click.option(
    "--duration", type=types.DURATION, default="3s", show_default=True, help="Of each trial."
)
@click.option(
    "--precision",
    type=types.Parsed("share", _precision),
    default="5%",
    show_default=True,
    help="Width of the final bracket.",
)
@click.option(
    "--confirm",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="Trials at each end of it.",
)
@options.servers
@options.clients
@options.close
@options.local_port_range
@options.workers
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where the report goes.  [default: reports/sweep-TIME or reports/validation-TIME]",
)
@options.json_file
@options.quiet
def command(**chosen: Any) -> None:
    """Measure the capacity of tunings by trial, and compare it with the prediction.

    The capacity of a tuning is the highest rate at which a load of --duration loses nothing. It is
    searched with short trials in fresh namespaces, from the prediction outward, until the bracket
    is narrow; both of its ends are then confirmed.
    """
    from lab.cli import sweep_run
    from lab.cli.asked import SweepOptions
    from lab.cli.edge import edge

    with edge(lambda: "interrupted before anything was measured"):
        options = SweepOptions(**chosen)
        kind, carry_out = (
            ("validation", sweep_run.validate) if options.validates else ("sweep", sweep_run.sweep)
        )
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        code = carry_out(options, options.out or Path("reports", f"{kind}-{stamp}"))
    sys.exit(int(code))
