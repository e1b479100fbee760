"""Makes directories that nobody's run wrote, and sees what the commands that read them do.

A stock of whole directories, one of each kind, is made once. A seed decides which of them is copied,
what is done to the copy, and which command reads it: the same seed gives the same case on any
machine, so that one that fell in ten thousand can be looked at alone. `python -m bench.mangled` does
many; the suite does a few hundred.
"""

from __future__ import annotations

import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from lab.cli import ablate_run, claims_kernels, compare, plan, plan_run, rebuild, report
from lab.cli import main as lab
from lab.report import across, html, writing
from loadgen.cli import execute, merge
from loadgen.cli import main as loadgen
from loadgen.cli import report as of_a_run
from loadgen.errors import Exit
from loadgen.report.page import PAGE
from tests.mangling.damage import mangle
from tests.mangling.stock import KINDS

VERBS: Final = (
    ablate_run, claims_kernels, compare, plan, plan_run, rebuild, report, across, html, writing, execute,
    merge, of_a_run,
)  # fmt: skip
"""Imported here, for the commands import them only when they are called, which is in each fork."""
SECONDS: Final = 5.0
"""Beyond which a command hangs."""
MEMORY: Final = 200 << 20
"""Bytes that a command may need more than the process that it was forked from."""
_BRAKE: Final = 2 << 30
"""Bytes beyond which a command gets no more memory, for the machine's sake."""
_SHOWN: Final = {".html", ".md", ".xml", ".csv", ".svg"}
_ENDS: Final = {int(code) for code in Exit} - {int(Exit.UNEXPECTED)}


@dataclass(frozen=True, slots=True)
class Case:
    """One directory that was mangled, and what became of the command that read it."""

    seed: int
    kind: str
    done: tuple[str, ...]
    """What was done to it."""
    command: tuple[str, ...]
    code: int
    seconds: float
    memory: int
    """Bytes that the command needed more than its parent."""
    said: str
    problems: tuple[str, ...]
    """What a promise was broken by; empty where all hold."""


def commands(kind: str, path: str, beside: str, out: str) -> list[tuple[str, ...]]:
    """Return the commands that read a directory of a kind."""
    if kind == "claims":
        return [("lab", "claims", "--with", f"{path}/claims.json", "--out", f"{out}/claims")]
    if kind == "recording":
        return [("loadgen", "report", path), ("lab", "plan", "--from", path)]
    if kind == "fleet":
        return [("loadgen", "report", path), ("loadgen", "merge", f"{path}/shards/001-n0")]
    if kind in {"run", "collapsed"}:
        files = (f"--json={out}/s.json", f"--csv={out}/s.csv", f"--junit={out}/j.xml")
        return [
            ("loadgen", "report", path, *files),
            ("loadgen", "merge", path, f"--json={out}/s.json"),
            ("lab", "report", path),
            ("lab", "compare", path, beside, f"--out={out}/compared"),
        ]
    return [
        ("lab", "report", path),
        ("lab", "report", path),
        ("lab", "report", path, f"--out={out}/report"),
        ("lab", "report", path, f"--csv={out}/s.csv"),
        ("lab", "compare", beside, path),
    ]


def _become(command: tuple[str, ...], told: Path) -> None:
    """Be a command, in a process that was forked for it; never returns."""
    code = 70
    try:
        descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
        resource.setrlimit(resource.RLIMIT_DATA, (_BRAKE, _BRAKE))
        sys.argv = list(command)
        (lab if command[0] == "lab" else loadgen)()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent shall hear of it
        os.write(2, f"Traceback: {type(error).__name__}: {error}\n".encode())
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@cache
def _idle() -> int:
    """Return the bytes of a fork that does nothing."""
    child = os.fork()
    if not child:
        os._exit(0)
    return os.wait4(child, 0)[2].ru_maxrss * 1024


def _run(command: tuple[str, ...], told: Path, patience: float) -> tuple[int, float, int]:
    """Run a command in a fork; return its code, its seconds and its bytes."""
    begun = time.monotonic()
    child = os.fork()
    if not child:
        _become(command, told)
    descriptor = os.pidfd_open(child)
    try:
        if not select.select([descriptor], [], [], patience)[0]:
            os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    finally:
        os.close(descriptor)
    code = os.waitstatus_to_exitcode(status)
    return code, time.monotonic() - begun, max(0, used.ru_maxrss * 1024 - _idle())


CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""What a terminal, or a reader's eye, obeys."""


def _problems(code: int, memory: int, said: str, written: list[Path]) -> Iterator[str]:
    if code == -signal.SIGKILL:
        yield "hangs"
    elif code not in _ENDS:
        yield f"ends with {code}"
    if "Traceback" in said:
        yield "traceback"
    if "error: unexpected" in said:
        yield "unexpected"
    if memory > MEMORY:
        yield "memory"
    if found := CONTROL.search(said):
        yield f"{found[0]!r} on the terminal"
    for path in written:
        text = path.read_bytes().decode("utf-8", "replace")
        if path.suffix in _SHOWN and (found := CONTROL.search(text)):
            yield f"{found[0]!r} in {path.name}"
        if path.suffix == ".html" and not text.rstrip().endswith("</html>"):
            yield f"{path.name} is cut"


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the regular files under a folder with what tells that they were written."""
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        if path.is_file() and not path.is_symlink():
            found[path] = state.st_mtime_ns, state.st_ino
    return found


def try_one(seed: int, whole: Path, scratch: Path, patience: float = SECONDS) -> Case:
    """Mangle one directory and have it read.

    Args:
        seed: decides everything.
        whole: what `stock` made.
        scratch: a folder for this case alone; removed afterwards.
        patience: seconds beyond which the command hangs.
    """
    dice = random.Random(seed)
    kind = dice.choice(list(KINDS))
    outside, folder, out = scratch / "outside", scratch / "in" / kind, scratch / "out"
    outside.mkdir(parents=True)
    out.mkdir()
    victim = outside / "victim"
    victim.write_bytes(b"do not touch")
    (outside / PAGE).write_bytes(b"nor this")
    shutil.copytree(whole / kind, folder)
    try:
        done = mangle(folder, dice, victim)
        beside = str(whole / ("experiment" if kind == "experiment" else "run"))
        command = dice.choice(commands(kind, str(folder), beside, str(out)))
        before, around = _files(folder), _files(outside)
        code, seconds, memory = _run(command, scratch / "told", patience)
        said = (scratch / "told").read_bytes().decode("utf-8", "replace")
        after = _files(folder) | _files(out)
        written = [path for path, state in after.items() if before.get(path) != state]
        problems = list(_problems(code, memory, said, written))
        if _files(outside) != around:
            problems.append("wrote outside")
    finally:
        shutil.rmtree(scratch)
    return Case(seed, kind, tuple(done), command, code, seconds, memory, said, tuple(problems))
