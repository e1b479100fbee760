"""`lab doctor`: what this machine can do."""

from __future__ import annotations

import click

from loadgen.cli.group import tell, write_to
from loadgen.errors import Exit


@click.command()
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Write the checks there, in place of the table when it is -.",
)
def command(json_file: str | None) -> None:
    """Say what this machine can do, and how to get what is missing.

    Changes nothing, and needs no rights; it tries what it can in namespaces of its own. Exits 0
    when `lab run` works here with one testbed at least, 99 when with none.
    """
    import msgspec

    from lab.doctor.checks import diagnose
    from lab.doctor.records import render
    from lab.vm.checks import other_kernels

    found = diagnose()
    diagnosis = msgspec.structs.replace(found, checks=[*found.checks, *other_kernels()])
    data = msgspec.json.format(msgspec.json.encode(diagnosis), indent=2).decode()
    if json_file != "-":
        tell(render(diagnosis), nl=False)
    write_to(json_file, f"{data}\n".encode())
    if not any(diagnosis.testbeds.values()):
        raise SystemExit(int(Exit.FAILED))
