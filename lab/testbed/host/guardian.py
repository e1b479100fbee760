"""The guardian: waits for the end of the lab that started it, and restores what the lab could not.

`python -m lab.testbed.host.guardian FOLDER ROOT`, with a pipe from the lab as its standard input and the
descriptor of the journal's lock left open. Through the pipe the lab says, a line each time, which
values it is about to change and, with an empty list, that they are back: the guardian keeps them in
memory and needs no file. It leads a session of its own, so Ctrl-C and a signal to
the lab's process group pass it by, and it ignores the signals that ask a process to end: a guardian
that obeyed one would leave the settings to nobody. Nobody but the lab holds the pipe's other end,
so the kernel breaks it when the lab is gone, however that came about.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from lab.testbed.host.journal import Change, JournalError, JournalPlace, put_back

READY = b"ready\n"
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)


def main(arguments: Sequence[str]) -> int:
    """Wait, restore, and return the exit code: 0 when nothing is pending any more."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    folder, root = map(Path, arguments)
    os.write(1, READY)
    pending = _last_said()
    try:
        lines, code = put_back(JournalPlace(folder, root), pending) if pending else [], 0
    except JournalError as error:
        lines, code = [str(error)], 1
    with suppress(OSError):  # the terminal may have gone with the lab
        for line in lines:
            os.write(2, f"lab's guardian: {line}\n".encode())
    return code


def message(changes: Sequence[Change]) -> bytes:
    """Return what the lab writes into the pipe before it changes values, and when they are back."""
    return msgspec.json.encode(changes) + b"\n"


def _last_said() -> list[Change]:
    """Read the pipe to its end; return the changes that are in force then.

    A line that was cut off by the lab's end counts for nothing: values are changed after it.
    """
    said = b"[]"
    rest = b""
    while data := os.read(0, 65536):
        *lines, rest = (rest + data).split(b"\n")
        said = lines[-1] if lines else said
    return msgspec.json.decode(said, type=list[Change])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
