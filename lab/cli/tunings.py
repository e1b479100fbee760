"""`lab tunings`: the built-in tunings, and what a tuning does on this host."""

from __future__ import annotations

import click

from loadgen.cli.group import fail


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the built-in tunings; `show NAME` prints one with what each line does here."""
    if ctx.invoked_subcommand is not None:
        return
    from lab.tunings import builtin_names, load

    for name in builtin_names():
        tuning = load(name)
        first = next((line for line in tuning.text.splitlines() if line.startswith("#")), "#")
        click.echo(f"{name:<16} {first.lstrip('#: ')}")


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a tuning, a built-in one or a sysctl.d file, with what it does on this host."""
    import os

    from lab.apply import read_sysctls
    from lab.sysctls import CATALOGUE
    from lab.tuning import TuningError
    from lab.tuning_text import render
    from lab.tunings import load
    from loadgen.namespace import own_namespace

    try:
        tuning = load(name)
    except TuningError as error:
        fail(str(error))
    own = own_namespace()
    try:
        host = read_sysctls(own, {*CATALOGUE, *tuning.values})
    finally:
        os.close(own)
    click.echo(render(tuning, host))
