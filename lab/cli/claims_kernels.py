"""Carries out `lab claims --kernel A --kernel B`: a guest for each kernel, one table of them all."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from lab.claims import by_kernel
from lab.claims.catalogue import Entry
from lab.claims.records import BY_KERNEL_SCHEMA, ByKernel, Claims
from lab.claims.results import again, experiments_for
from lab.cli.claims_run import JSON, ClaimsStatus, measure, write
from lab.cli.vm_run import Guest
from lab.cli.vm_run import execute as run_in_guest
from lab.testbed.userns import ensure_privileges
from lab.vm.cache import cache_directory
from lab.vm.names import VmError
from loadgen.cli.group import say
from loadgen.errors import ChurnlabError, Exit
from loadgen.files import ReadError, check_results, read_record, writing
from loadgen.foreign import Harmless, harmless

HERE: Final = "here"
_MOST: Final = 8 << 20
"""Bytes of a stored result: some twenty times what a run writes."""


class _Head(msgspec.Struct):
    """What every file of results begins with."""

    schema: str


class ResultsError(ChurnlabError):
    """A file that holds no results of claims. One line."""


def execute(
    entries: Sequence[Entry],
    kernels: Sequence[str],
    stored: Sequence[Path],
    *,
    json_file: str | None,
    out: Path | None,
    quiet: bool,
) -> Exit:
    """Test the claims on each kernel, write and show one table; return the exit code.

    A kernel that cannot be had is said, and the others are tested all the same. What is there is
    written after each kernel, so that nothing is lost with the last one.

    Raises:
        ResultsError: for a file that holds no results.
        TestbedError: when nothing can be tested on this machine's own kernel.
        Interrupted: by Ctrl-C in a guest.
        WriteError: when a file cannot be written.
    """
    check_results(json_file)
    found = [claims for path in stored for claims in read(path)]
    if out is not None:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
    missing = False
    # The own kernel last: an ordinary user enters a user namespace for it, for good.
    for kernel in sorted(kernels, key=lambda name: name == HERE):
        try:
            found.append(_here(entries, quiet=quiet) if kernel == HERE else _there(kernel, entries))
        except VmError as error:
            say(str(error), kernel)
            missing = True
            continue
        _write(by_kernel.ordered(found), json_file if json_file != "-" else None, out)
    if not found:
        return Exit.INVALID
    table = by_kernel.ordered(found)
    _show(table, to_stdout=json_file != "-")
    _write(table, json_file, out)
    failed = any(result.failed for claims in found for result in claims.claims)
    if not all(claims.finished for claims in found):
        return Exit.INTERRUPTED
    return Exit.INVALID if failed or missing else Exit.PASS


def read(path: Path) -> list[Claims]:
    """Return the results in a file that `lab claims` wrote, read with today's catalogue.

    Raises:
        ResultsError: when it holds none.
    """
    try:
        if read_record(path, _Head, _MOST).schema == BY_KERNEL_SCHEMA:
            found = read_record(path, ByKernel, _MOST).kernels
        else:
            found = [read_record(path, Claims, _MOST)]
        return [again(claims) for claims in found]
    except ReadError as error:
        raise ResultsError(f"--with {error}") from None
    except ValueError as error:
        raise ResultsError(f"--with {path}: not written by lab claims --json: {error}") from None


def _here(entries: Sequence[Entry], *, quiet: bool) -> Claims:
    ensure_privileges()
    wanted = experiments_for(entries)
    return measure(entries, wanted, ClaimsStatus(len(wanted), quiet=quiet))


def _there(kernel: str, entries: Sequence[Entry]) -> Claims:
    """Test the claims in a guest.

    Raises:
        VmError: when it cannot be had, or left no results.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="claims-", dir=cache) as directory:
        results = Path(directory, JSON)
        only = [word for entry in entries for word in ("--only", entry.name)]
        guest = Guest(kernel, (), cpus=2, memory="4G", kvm=True)
        code = run_in_guest(
            guest,
            ["claims", "--json", str(results), *only],
            quiet=False,
            stdout=io.BytesIO(),
        )
        try:
            (claims,) = read(results)
        except ResultsError:
            raise VmError(f"lab claims left no results there; it ended with {code}") from None
    return claims


def _write(found: ByKernel, json_file: str | None, out: Path | None) -> None:
    write(by_kernel.json(found), by_kernel.markdown(found), json_file, out)


def _show(found: ByKernel, *, to_stdout: bool) -> None:
    stream = sys.stdout if to_stdout else sys.stderr
    if stream.isatty():
        console = Console(file=stream)
        console.print(Harmless(by_kernel.renderable(found)))
        for line in by_kernel.ending(found):
            console.print(harmless(line), markup=False, highlight=False)
    else:
        stream.write(by_kernel.terminal(found, width=160))
    stream.flush()
