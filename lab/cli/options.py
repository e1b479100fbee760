"""Options that several commands have, each with one meaning and one wording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from loadgen.cli import types
from loadgen.config import LoadOptions

MOST_HOSTS: Final = 4096
"""Servers, or client addresses, that a testbed makes."""


def _room(text: str) -> int | str:
    if text in {"auto", "all"}:
        return text
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no number of entries; write a whole number, auto or all")
    return int(text)


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
local_port_range = click.option(
    "--local-port-range",
    type=types.PORT_RANGE,
    default=None,
    help="The generator sets IP_LOCAL_PORT_RANGE, in every arm.",
)


def rate_of(chosen: Mapping[str, Any]) -> float | None:
    """Return the rate that was asked for; None for `auto`, or where a command has no such option.

    Raises:
        ValueError: for the closed loop.
    """
    rate = chosen.get("rate")
    if rate == "max":
        raise ValueError("--rate max has no arrivals to drop, so nothing to compare; give a number")
    return None if rate is None or isinstance(rate, str) else float(rate)


def load_of(chosen: Mapping[str, Any], *, thresholds: tuple[str, ...] = ()) -> LoadOptions:
    """Return what is asked of the load generator; what a command has no option for is left to it.

    Args:
        chosen: a command's options, as click names them.
        thresholds: of each run.

    Raises:
        ValueError: for an operation that cannot be, or a rate; see `rate_of`.
    """
    named = ("op", "close", "timeout", "max_lateness", "workers", "local_port_range")
    given = {name: chosen[name] for name in named if name in chosen}
    return LoadOptions(rate=rate_of(chosen), thresholds=thresholds, **given)
