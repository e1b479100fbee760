"""Options that several commands have, each with one meaning and one wording."""

from __future__ import annotations

from typing import Final

import click

from loadgen.cli import types
from loadgen.units import shortened, whole

MOST_HOSTS: Final = 4096
"""Servers, or client addresses, that a testbed makes."""
THIS_HOST: Final = "this-host"
"""As the name of a tuning: the values in force here."""


def _room(text: str) -> int | str:
    if text in {"auto", "all"}:
        return text
    number = whole(text)
    if number is None:
        raise ValueError(
            f"{shortened(text)} is no number of entries; write a whole number, auto or all"
        )
    return number


ROOM: Final = types.Parsed("room", _room)
"""Entries of a table: a whole number, `auto` or `all`."""

servers = click.option(
    "--servers",
    type=click.IntRange(1, MOST_HOSTS),
    default=1,
    show_default=True,
    help="Servers, each with its own address.",
)
clients = click.option(
    "--clients",
    type=click.IntRange(1, MOST_HOSTS),
    default=1,
    show_default=True,
    help="Client addresses, each a pool of ports of its own.",
)
close = click.option(
    "--close",
    type=click.Choice(["client", "server", "rst"]),
    default="client",
    show_default=True,
    help="Who closes first and keeps TIME_WAIT.",
)
rate = click.option(
    "--rate",
    type=types.RATE,
    default="20000",
    show_default=True,
    help="Arrivals a second; auto: what this machine can carry, at most 20000.",
)
timeout = click.option(
    "--timeout",
    type=types.DURATION,
    default="3s",
    show_default=True,
    help="Longest life of an attempt.",
)
workers = click.option(
    "--workers",
    type=types.WORKERS,
    default="auto",
    show_default=True,
    help="Worker processes of the generator.",
)
json_file = click.option(
    "--json", "json_file", metavar="FILE|-", help="Write the record there, too."
)
quiet = click.option("--quiet", is_flag=True, help="No progress on stderr.")
local_port_range = click.option(
    "--local-port-range",
    type=types.PORT_RANGE,
    default=None,
    help="The generator sets IP_LOCAL_PORT_RANGE, in every arm.",
)
