"""Files under /proc that are opened once and read again and again.

Opening a file under /proc/net or /proc/sys/net fixes the namespace it tells of (namespaces of the
opening thread, network_namespaces(7)), and costs several times what reading it costs. A file of
/proc is made anew at each read from its beginning, so pread(2) at offset 0 on a descriptor that
stays open is a fresh reading.

One pread is not always enough: a seq_file with a record for each CPU or device hands out no more
than fits into a page at a time (Documentation/filesystems/seq_file.rst). So after a piece of half
a page or more, reading goes on until there is no more; no record in these files is nearly as long,
so a shorter piece is the whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from loadgen.sampling.namespace import run_inside

_T = TypeVar("_T")
_SIZE = 1 << 16
_HALF_PAGE = 2048


def within(namespace: int | None, call: Callable[[], _T]) -> _T:
    """Return `call()` made inside the namespace of a descriptor; None is where we are.

    Raises:
        NamespaceError: when the namespace may not be entered.
        Exception: whatever `call` raises.
    """
    return call() if namespace is None else run_inside(namespace, call)


class KeptFile:
    """One open file, or the reason why it could not be opened."""

    __slots__ = ("_descriptor", "_opened", "path", "reason")

    def __init__(self, path: str) -> None:
        """Open `path` in the calling thread's namespace; never raises for a file that is not there.

        Paths under /proc/net are given as /proc/thread-self/net, because /proc/net is that of the
        process' first thread.
        """
        self._opened = path
        self.path = path.replace("/proc/thread-self/", "/proc/")
        self.reason: str | None = None
        """Why the file cannot be read; None while it can."""
        self._descriptor = -1
        self.open()

    @property
    def missing(self) -> bool:
        """Whether there was no such file, so that `open` may be tried again."""
        return self._descriptor < 0

    def open(self) -> None:
        """Try to open the file, in the calling thread's namespace; `reason` tells if it failed."""
        self.close()
        try:
            self._descriptor = os.open(self._opened, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self.reason = f"{self.path}: {error.strerror}"
        else:
            self.reason = None

    def read(self) -> bytes | None:
        """Return the whole file as it is now; None when it cannot be read, see `reason`."""
        if self._descriptor < 0:
            return None
        try:
            text = os.pread(self._descriptor, _SIZE, 0)
            if len(text) >= _HALF_PAGE:
                while more := os.pread(self._descriptor, _SIZE, len(text)):
                    text += more
        except OSError as error:
            # Of a process that has ended (ESRCH), or a sysctl whose module was removed.
            self.reason = f"{self.path}: {error.strerror}"
            return None
        self.reason = None
        return text

    def close(self) -> None:
        """Close the file; reading it gives None from now on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self.reason = f"{self.path}: closed"
