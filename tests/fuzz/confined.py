"""A process that can do no harm: nothing is written outside one directory, nothing sent anywhere.

It has a mount namespace in which all but a directory is read-only, and a network namespace with
nothing in it. What would be the deed itself, an event loop or another process, is `Reached` instead:
all that stands before it has been passed.
"""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import trio

from lab.testbed import fresh
from lab.testbed.userns import ensure_privileges
from loadgen.cli import watching

_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000
_MEMORY = 600 << 20
"""Bytes: three times what a command line may take."""
_libc = ctypes.CDLL(None, use_errno=True)


class Reached(BaseException):
    """The deed that a command line asked for would have been done now."""


def confine(directory: Path) -> None:
    """Confine this process to `directory`, for good; before it has threads.

    Raises:
        OSError: when the kernel forbids it.
        subprocess.CalledProcessError: when mount does.
        TestbedError: when namespaces cannot be had.
    """
    ensure_privileges()
    if _libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    here = str(directory)
    for words in (
        ["--make-rprivate", "/"],
        ["--bind", here, here],
        ["-o", "remount,bind,ro", "/"],
    ):
        subprocess.run(["mount", *words], check=True)
    # What eats memory is told by an error, not by the kernel that ends the process.
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    # From here on there is no Docker engine, no state and no home but in the directory.
    places = {
        "HOME": here,
        "XDG_CACHE_HOME": here,
        "CHURNLAB_STATE": f"{here}/state",
        "TMPDIR": here,
    }
    os.environ.update(places, DOCKER_HOST=f"unix://{here}/docker.sock")
    os.environ.pop("CHURNLAB_TRACEBACK", None)


@contextmanager
def no_deeds() -> Iterator[None]:
    """Let nothing begin inside the block: it is `Reached` instead."""

    def reached(*_: Any, **__: Any) -> NoReturn:
        raise Reached

    closed = [(trio, "run"), (subprocess.Popen, "__init__"), (watching, "watch")]
    kept = [(where, name, getattr(where, name)) for where, name in [*closed, (fresh, "_read")]]
    for where, name in closed:
        setattr(where, name, reached)
    # Making a namespace takes longer than all else, and its values stay the same.
    read = fresh._read
    ask = functools.cache(lambda keys: read(list(keys)))
    fresh._read = lambda keys: dict(ask(tuple(keys)))
    try:
        yield
    finally:
        for where, name, was in kept:
            setattr(where, name, was)
