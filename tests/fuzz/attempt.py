"""One command line, carried out in this process as far as to the deed: how did it end?"""

from __future__ import annotations

import io
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Final, NoReturn

import click
import msgspec

from loadgen.cli.group import run_command
from loadgen.errors import Exit
from tests.fuzz.confined import Reached

LONGEST: Final = 5.0
"""Seconds that a line may take."""
MOST: Final = 200
"""Megabytes that a process may come to hold over its lines."""
_SAID: Final = re.compile(r"(error|warning|note|serving)\b.*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Fault(msgspec.Struct, frozen=True):
    """A line that did not end as promised."""

    kind: str
    """`traceback`, `unexpected`, `hang`, `code`, `lines`, `control` or `memory`."""
    number: int
    words: list[str]
    said: str


class _Hang(BaseException):
    """The line takes too long."""


def _too_long(*_: object) -> NoReturn:
    raise _Hang


def attempt(group: click.Group, number: int, words: Sequence[str]) -> Fault | None:
    """Carry a line out; return what is wrong with its end, None if nothing is."""
    out, err = _stream(), _stream(errors="backslashreplace")
    begin = time.monotonic()
    code: Any = None
    kind = ""
    before = held()
    kept, sys.argv = sys.argv, list(words)
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            run_command(group)
    except Reached:
        pass
    except SystemExit as end:
        code = end.code
    except _Hang:
        kind = "hang"
    except BaseException as error:  # noqa: BLE001 - that it is raised is the finding
        kind, code = "traceback", repr(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.argv = kept
    said = _text(err)
    kind = kind or _promise_broken(code, said, _text(out))
    if not kind and time.monotonic() - begin > LONGEST:
        kind = "hang"
    if not kind and before <= MOST < held():
        kind = "memory"
    return (
        Fault(
            kind,
            number,
            [os.fsencode(word[:200]).decode(errors="backslashreplace") for word in words],
            f"{code}: {said[:600]}",
        )
        if kind
        else None
    )


def held() -> float:
    """Return the most megabytes that this process has had in memory (getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _stream(errors: str = "strict") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    held = stream.buffer
    assert isinstance(held, io.BytesIO)
    return held.getvalue().decode(errors="replace")


def _promise_broken(code: object, err: str, out: str) -> str:
    """Return which promise an end breaks, nothing if it keeps them all."""
    if "Traceback" in err:
        return "traceback"
    if "error: unexpected " in err and "(CHURNLAB_TRACEBACK=1" in err:
        return "unexpected"
    if code not in {None, *map(int, Exit)}:
        return "code"
    if _CONTROL.search(err):
        return "control"
    if code == Exit.USAGE and not out.startswith("Usage: "):
        # Before the error there may be a summary, of `loadgen report`; after it, nothing else.
        lines = err.splitlines()
        first = next((n for n, line in enumerate(lines) if _SAID.fullmatch(line)), None)
        if first is None or not all(_SAID.fullmatch(line) for line in lines[first:]):
            return "lines"
    return ""
