"""The guardian: waits for the end of the lab that started it, and restores what the lab could not.

`python -m lab.testbed.host.guardian FOLDER ROOT`, with a pipe from the lab as its standard input and the
descriptor of the journal's lock left open. It leads a session of its own, so Ctrl-C and a signal to
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

from lab.testbed.host.journal import JournalError, Place, restore

READY = b"ready\n"
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)


def main(arguments: Sequence[str]) -> int:
    """Wait, restore, and return the exit code: 0 when nothing is pending any more."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    folder, root = map(Path, arguments)
    os.write(1, READY)
    while os.read(0, 4096):
        pass
    try:
        lines, code = restore(Place(folder, root)), 0
    except JournalError as error:
        lines, code = [str(error)], 1
    with suppress(OSError):  # the terminal may have gone with the lab
        for line in lines:
            os.write(2, f"lab's guardian: {line}\n".encode())
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
