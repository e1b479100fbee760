"""`lab tunings`: the built-in tunings, what one does on this host, two as variables of compose."""

from __future__ import annotations

import click

from loadgen.cli.group import tell, write_to


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the built-in tunings.

    `show NAME` prints one with what each line does here, `env` writes two for docker compose.
    """
    if ctx.invoked_subcommand is not None:
        return
    from lab.tunings import builtin_names, load

    for name in builtin_names():
        tuning = load(name)
        first = next((line for line in tuning.text.splitlines() if line.startswith("#")), "#")
        tell(f"{name:<16} {first.lstrip('#: ')}")


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a tuning, a built-in one or a sysctl.d file, with what it does on this host."""
    from lab.cli.edge import edge
    from lab.sysctl.apply import own_sysctls
    from lab.sysctl.catalogue import CATALOGUE
    from lab.sysctl.show import render
    from lab.tunings import load

    with edge():
        tuning = load(name)
    host = own_sysctls({*CATALOGUE, *tuning.values})
    tell(render(tuning, host))


@command.command()
@click.option("--before", default="kernel-default", show_default=True, metavar="TUNING")
@click.option("--after", default="article", show_default=True, metavar="TUNING")
@click.option(
    "--output",
    default="-",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Where to write; - is standard output.  [default: -]",
)
def env(before: str, after: str, output: str) -> None:
    """Write two tunings as variables: docker compose --env-file FILE up.

    A tuning is a built-in one or a sysctl.d file, as for lab run.
    """
    from lab.analysis.records import AFTER, BEFORE
    from lab.cli.edge import edge
    from lab.compose.variables import render as render_env
    from lab.tunings import load

    with edge():
        text = render_env({BEFORE: load(before), AFTER: load(after)})
        write_to(output, text.encode())
    if output != "-":
        tell(f"written: {output}; use it: docker compose --env-file {output} up")
