"""`lab vm`: a verb of lab on another kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli.group import fail

_EPILOG = (
    "Example: lab vm --kernel debian:6.1 -- run --after article --rate auto --trials 4. "
    "Exit codes: the verb's own; 1 when the guest came to grief, 2 when it cannot be started, 130 "
    "when interrupted."
)


@click.command(
    epilog=_EPILOG, context_settings={"allow_interspersed_args": False, "max_content_width": 100}
)
@click.option(
    "--kernel",
    metavar="KERNEL",
    default=None,
    help="debian:6.1 (the newest of that series in Debian's archive), debian:newest, or the path "
    "of a vmlinuz.",
)
@click.option(
    "--kernel-deb",
    "packages",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A kernel's Debian package, instead; repeatable, for one that is split.",
)
@click.option("--cpus", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option(
    "--memory",
    default="4G",
    show_default=True,
    metavar="SIZE",
    help="Of the guest, such as 2048M or 4G.",
)
@click.option("--no-kvm", is_flag=True, help="Emulate, even where KVM works.")
@click.option("--quiet", is_flag=True, help="Do not say which kernel runs on what.")
@click.argument("verb", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- VERB …")
def command(
    *,
    kernel: str | None,
    packages: tuple[Path, ...],
    cpus: int,
    memory: str,
    no_kvm: bool,
    quiet: bool,
    verb: tuple[str, ...],
) -> None:
    """Run a verb of lab in a virtual machine with another kernel.

    The guest sees this machine's files, so the verb is this installation's, and what it writes to
    the working directory or to the directories of its options comes out here. Kernels are kept in
    the cache directory. Nothing of this machine is changed.
    """
    from lab.cli.edge import edge
    from lab.cli.vm_run import Guest, execute
    from lab.vm.cache import cache_directory
    from loadgen.files import writing

    if (kernel is None) == (not packages):
        fail("give a kernel: --kernel debian:6.1, --kernel ./vmlinuz, or --kernel-deb FILE")
    guest = Guest(kernel, packages, cpus, memory, kvm=not no_kvm)
    with edge(lambda: "interrupted; the guest is gone"), writing(cache_directory()):
        code = execute(guest, verb, quiet=quiet)
    sys.exit(code)
