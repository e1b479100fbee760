"""`lab plan`: what a tuning does at a rate, and the tuning that holds it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from lab.cli import options
from loadgen.cli import types

_EPILOG = (
    "Example: lab plan --rate 20000 --output 90-churn.conf && lab run --after ./90-churn.conf. "
    "Exit codes: 0 when the tuning in question holds the rate or the computed one does; 99 when no "
    "setting does."
)


def _rate(text: str) -> float:
    rate = types.RATE.convert(text, None, None)
    if not isinstance(rate, float):
        raise ValueError(f"{rate}: a plan needs a number of connections a second")  # noqa: TRY004 - what a user wrote
    return rate


def _version(text: str) -> str:
    if re.fullmatch(r"\d{1,3}\.\d{1,4}(?:[.\-+]\S{0,60})?", text, re.ASCII) is None:
        raise ValueError(f"{text!r} is no kernel version: write one such as 5.10 or 6.18.3")
    return text


def _gibibytes(text: str) -> float:
    match = re.fullmatch(r"(\d{1,7})([MG])", text, re.ASCII)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is no size of memory: write one such as 512M or 4G")
    return int(match[1]) / (1024 if match[2] == "M" else 1)


@click.command(epilog=_EPILOG)
@click.option(
    "--rate",
    type=types.Parsed("rate", _rate),
    default=None,
    help="Connections a second.  [required, unless --from tells it]",
)
@click.option(
    "--from",
    "recording",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    metavar="DIR",
    help="Take rate, addresses, close mode, lifetimes and settings from what `loadgen watch --out DIR` "
    "recorded; what is given besides counts instead.",
)
@click.option(
    "--clients",
    type=click.IntRange(1, 65_536),
    default=1,
    show_default=True,
    help="Client addresses, each a pool of ports of its own.",
)
@click.option(
    "--servers",
    type=click.IntRange(1, 65_536),
    default=1,
    show_default=True,
    help="Server addresses and ports, counted as pairs.",
)
@click.option(
    "--tuning",
    default="kernel-default",
    show_default=True,
    metavar="TUNING",
    help=f"A built-in tuning, a sysctl.d file, or {options.THIS_HOST} for the values in force here.",
)
@options.close
@click.option(
    "--duration", type=types.DURATION, default=None, help="Of the load.  [default: endless]"
)
@click.option(
    "--rtt", type=types.DURATION_OR_ZERO, default="0.5ms", show_default=True, help="Round trip."
)
@click.option(
    "--local-port-range",
    type=types.PORT_RANGE,
    default=None,
    help="The program sets IP_LOCAL_PORT_RANGE.",
)
@click.option("--bind-early", is_flag=True, help="The program binds before it knows the server.")
@click.option(
    "--conntrack/--no-conntrack",
    default=True,
    show_default=True,
    help="Whether one table tracks all of these connections.",
)
@click.option(
    "--kernel",
    type=types.Parsed("version", _version),
    default=None,
    metavar="VERSION",
    help="Plan for this kernel, such as 5.10, from its documented defaults.  [default: the one here]",
)
@click.option(
    "--memory",
    type=types.Parsed("size", _gibibytes),
    default=None,
    metavar="SIZE",
    help="With --kernel, of the host, such as 4G: conntrack's table hangs on it.  [default: as here]",
)
@click.option(
    "--topology",
    type=click.Choice(["direct", "nat", "proxy"]),
    default="direct",
    show_default=True,
    help="What the connections pass. nat: one NAT, whose table and ports are counted. proxy: plan for "
    "a proxy that opens a connection to a server for each that it takes.",
)
@click.option(
    "--nat-addresses",
    type=click.IntRange(1, 65_536),
    default=1,
    show_default=True,
    help="Addresses of the NAT toward the servers.",
)
@click.option(
    "--nat-ports",
    type=types.PORT_RANGE,
    default=None,
    help="Ports that the NAT's rule names.  [default: the kernel's, 1024-65535]",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Write the sysctl.d file there.",
)
@click.option(
    "--proof",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    metavar="DIR",
    help="With --from: write before.conf, the host's settings as recorded, and after.conf, the same with "
    "the plan's lines, there, and print the `lab run` that compares them under the recorded load.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Write the plan there as JSON.",
)
@click.pass_context
def command(context: click.Context, /, **chosen: Any) -> None:
    """Predict what a tuning does at a rate, and compute one that holds it.

    No connection is opened: the forecast follows from the settings, the addresses and what is known
    of the kernel (docs/capacity.md). `lab run` and `lab sweep` measure it.
    """
    from lab.cli import plan_run
    from lab.cli.asked import PlanOptions
    from lab.cli.edge import edge

    source = click.core.ParameterSource.COMMANDLINE
    given = frozenset(n for n in chosen if context.get_parameter_source(n) == source)
    with edge():
        code = plan_run.execute(PlanOptions(**chosen), given)
    sys.exit(int(code))
