"""Carries out `lab vm`: the kernel, the verb's options, the guest."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import click

from lab.vm.cache import GuestKernel, cache_directory, resolve
from lab.vm.machine import Accelerator, Machine, check_tools, run
from lab.vm.names import VmError
from lab.vm.script import script
from lab.vm.sharing import shared, visible
from loadgen.cli.group import tell
from loadgen.run.environment import GUEST

_SIZE: Final = re.compile(r"[1-9]\d{0,5}[MG]")
_WRITTEN: Final = frozenset({"out", "json_file", "output"})
"""Parameters of lab's verbs that name what a verb writes."""
_PASSED: Final = ("COLUMNS", "LANG", "LC_ALL", "TERM", "TZ", "CHURNLAB_TRACEBACK")


@dataclass(frozen=True, slots=True)
class Guest:
    """What the options ask for."""

    kernel: str | None
    packages: tuple[Path, ...]
    cpus: int
    memory: str
    kvm: bool


def execute(
    guest: Guest,
    verb: Sequence[str],
    *,
    quiet: bool,
    stdout: BinaryIO | None = None,
) -> int:
    """Run the verb in a guest; return its exit code.

    Args:
        guest: which.
        verb: of lab, and its arguments.
        quiet: say nothing of one's own on stderr.
        stdout: gets the verb's standard output; None for this process's own.

    Raises:
        VmError: when the guest cannot be had, or came to grief.
        Interrupted: by a signal.
        click.UsageError: for a verb or an option that is none.
        OSError: when a file cannot be written.
    """
    if _SIZE.fullmatch(guest.memory) is None:
        raise VmError(f"--memory {guest.memory}: write a size such as 2048M or 4G")
    written = list(_written(verb))
    here = Path.cwd()
    for path, what in (
        (Path(sys.prefix), "the Python environment"),
        (Path(__file__), "the installation"),
        (cache_directory(), "the cache directory"),
    ):
        visible(path, what)
    places = shared(here, written)
    check_tools()
    kernel = resolve(guest.kernel, guest.packages)
    visible(kernel.image, "the kernel")

    def say(words: str) -> None:
        if not quiet:
            tell(f"guest: Linux {kernel.release} {words}", err=True)

    machine = Machine(
        kernel=kernel, cpus=guest.cpus, memory=guest.memory, shared=places, kvm=guest.kvm
    )

    def make_script(job: Path, accelerator: Accelerator) -> str:
        return script(
            job=job,
            directory=here,
            command=[sys.executable, "-m", "lab", *verb],
            environment=_environment(accelerator, kernel),
        )

    return run(
        machine,
        make_script,
        stdout=sys.stdout.buffer if stdout is None else stdout,
        stderr=sys.stderr.buffer,
        say=say,
    )


def _environment(accelerator: Accelerator, kernel: GuestKernel) -> dict[str, str]:
    about = {
        "accelerator": accelerator,
        "kernel": kernel.release,
        "host": platform.node(),
        "host_kernel": platform.release(),
    }
    return {
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        GUEST: json.dumps(about),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        "HOME": str(Path.home()),
        "TMPDIR": "/var/tmp",  # noqa: S108 - a tmpfs of the guest's own
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _written(verb: Sequence[str]) -> Iterator[Path]:
    """Yield the paths that the verb's options name for writing.

    The verb's own parser reads them, so that a wrong option is refused before anything boots.
    """
    from lab.cli import VERBS, command_group

    name, *arguments = verb
    if name == "vm":
        raise click.UsageError("lab vm runs no lab vm")
    chosen = command_group().get_command(click.Context(click.Group()), name)
    if chosen is None:
        raise click.UsageError(f"no verb {name!r}: lab has {', '.join(VERBS)}")
    with chosen.make_context(f"lab {name}", arguments) as context:
        for parameter in chosen.params:
            value = context.params.get(parameter.name or "")
            if value in {None, "", "-"} or isinstance(value, (bool, tuple)):
                continue
            if parameter.name in _WRITTEN or isinstance(parameter.type, click.Path):
                yield Path(str(value))
