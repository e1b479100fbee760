"""`lab plan`: what a rate comes to under a tuning, and the tuning that holds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from loadgen.cli import types
from loadgen.cli.group import Exit, fail

THIS_HOST = "this-host"

_EPILOG = (
    "Example: lab plan --rate 20000 --output 90-churn.conf && lab run --after ./90-churn.conf. "
    "Exit codes: 0 when the tuning in question holds the rate or the computed one does; 99 when no "
    "setting does."
)


@click.command(epilog=_EPILOG)
@click.option("--rate", type=types.RATE, required=True, help="Connections a second.")
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
    help=f"A built-in tuning, a sysctl.d file, or {THIS_HOST} for the values in force here.",
)
@click.option(
    "--close",
    type=click.Choice(["client", "server", "rst"]),
    default="client",
    show_default=True,
    help="Who closes first and keeps TIME_WAIT.",
)
@click.option(
    "--duration", type=types.DURATION, default=None, help="Of the load.  [default: for good]"
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
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Write the sysctl.d file there.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Write the plan there as JSON.",
)
def command(**options: Any) -> None:
    """Predict what a rate comes to under a tuning, and compute one that holds it.

    No connection is opened: the forecast follows from the settings, the addresses and what is known
    of the kernel. `lab run` and `lab sweep --validate` measure it.
    """
    from lab import plan as planning
    from lab.capacity import CapacityError, Kernel, Load, Settings, Situation
    from lab.plan_text import render
    from lab.tuning import TuningError
    from lab.tunings import load as load_tuning
    from loadgen.summary import encode

    rate = options["rate"]
    if isinstance(rate, str):
        fail(f"--rate {rate}: a plan needs a number of connections a second")
    if "-" == options["output"] == options["json_file"]:
        fail("--output and --json cannot both be standard output")
    name = options["tuning"]
    try:
        wanted = {} if name == THIS_HOST else load_tuning(name).values
        values, note = _values(this_host=name == THIS_HOST)
        known = {**values, **wanted}
        release = os.uname().release
        situation = Situation(
            load=Load(
                rate=rate,
                duration=options["duration"],
                close=options["close"],
                sources=options["clients"],
                destinations=options["servers"],
                rtt=options["rtt"],
                local_port_range=options["local_port_range"],
                bind_early=options["bind_early"],
                tracked=options["conntrack"] and "net.netfilter.nf_conntrack_max" in known,
            ),
            settings=Settings.of(known),
            kernel=Kernel.of(release),
        )
        plan = planning.make(situation, known, tuning=name, kernel=release)
    except (TuningError, CapacityError) as error:
        fail(str(error))
    quiet = "-" in {options["output"], options["json_file"]}
    if not quiet:
        click.echo(render(plan), nl=False)
        if note:
            click.echo(f"\n{note}")
    _write(options["output"], planning.sysctl_file(plan))
    _write(options["json_file"], encode(plan).decode())
    if not quiet and options["output"]:
        target = Path(options["output"])
        shown = target if "/" in str(target) else f"./{target}"
        click.echo(
            f"\nwritten: {target}; prove it: lab run --after {shown} --rate {rate:g} "
            f"--clients {options['clients']} --servers {options['servers']}"
        )
    if not plan.then.holds:
        raise SystemExit(int(Exit.FAILED))


def _write(where: str | None, text: str) -> None:
    if where is None:
        return
    if where == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(where).write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {where}: {error.strerror}")


def _values(*, this_host: bool) -> tuple[Mapping[str, str], str]:
    """Return the sysctls of a fresh namespace, or of this one, and what to say about them."""
    from lab.apply import read_sysctls
    from lab.capacity import KEYS
    from lab.testbed.base import TestbedError
    from lab.testbed.userns import ensure_privileges
    from loadgen.namespace import NamespaceError, new_namespace, own_namespace

    note = ""
    try:
        if this_host:
            namespace = own_namespace()
        else:
            ensure_privileges()
            namespace = new_namespace()
    except (TestbedError, NamespaceError):
        namespace = own_namespace()
        note = (
            "note: no fresh namespace may be made here, so what the tuning does not set was taken "
            "from this host as it is"
        )
    try:
        return read_sysctls(namespace, KEYS), note
    finally:
        os.close(namespace)
