"""`lab claims`: every claim of the article, tested on this kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lab.cli import options
from loadgen.cli.group import tell


@click.command(
    epilog="A refuted claim is a finding, not a failure: the exit code is 0 when all experiments "
    "ran, and 3 when one of them went wrong. Tested between two hosts; --details says of "
    "each claim that reads differently behind a NAT what becomes of it there."
)
@click.option("--only", multiple=True, metavar="NAME", help="Test this claim only; repeatable.")
@click.option("--list", "only_list", is_flag=True, help="Name the claims, test nothing.")
@click.option("--json", "json_file", metavar="FILE", help="Write the results as JSON; - is stdout.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write claims.json and claims.md into this directory.",
)
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="KERNEL",
    help="Test them on this kernel, in a guest (see lab vm), or `here`; repeatable, for one table.",
)
@click.option(
    "--with",
    "stored",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Add results that --json stored, on another kernel, to that table.",
)
@click.option("--details", is_flag=True, help="Show reading and evidence of each claim.")
@options.quiet
def command(
    *,
    only: tuple[str, ...],
    only_list: bool,
    json_file: str | None,
    out: Path | None,
    kernels: tuple[str, ...],
    stored: tuple[Path, ...],
    details: bool,
    quiet: bool,
) -> None:
    """Test the claims of the article by experiment, in about a minute.

    Each experiment opens a few hundred connections in network namespaces of its own: nothing
    outside is loaded, and no setting of this machine changes. With --kernel, each kernel takes a few
    minutes where its processors are emulated.
    """
    from lab.claims.results import choose
    from lab.cli.claims_run import execute
    from lab.cli.edge import edge

    with edge(lambda: "interrupted before the first experiment ended"):
        entries = choose(only)
        if only_list:
            for entry in entries:
                tell(f"{entry.name:<32} {entry.says}")
            return
        if kernels or stored:
            # Only this imports what makes guests.
            from lab.cli import claims_kernels

            code = claims_kernels.execute(
                entries, kernels, stored, json_file=json_file, out=out, quiet=quiet
            )
        else:
            code = execute(
                entries, json_file=json_file, out=out, details=details or bool(only), quiet=quiet
            )
    sys.exit(int(code))
