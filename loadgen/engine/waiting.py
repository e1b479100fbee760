"""Waiting for connections with a deadline in microseconds.

`select.epoll.poll` counts whole milliseconds: at 20,000/s that is twenty arrivals. epoll_pwait2(2)
counts nanoseconds (Linux 5.11, glibc 2.35), but Python does not offer it; it is called through
ctypes here. Where it is missing or forbidden, select(2) waits on the epoll descriptor, in
microseconds, and a second call fetches what is ready. That is slower by more than a call, for the
kernel then wakes one waiting queue by way of another.

The kernel lets a thread's waits run over by its timer slack, 50 µs unless told otherwise
(PR_SET_TIMERSLACK, prctl(2)), which is as long as a whole connection takes between two namespaces
of one machine. `sharpen_timers` turns that off.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import select
from collections.abc import Callable, Sequence

Ready = Sequence[tuple[int, int]]
"""Descriptors and their events, as `select.epoll.poll` returns them."""
Wait = Callable[[float], Ready]
"""Waits at most so many seconds (below 1) and returns what is ready; nothing on a timeout."""

_PR_SET_TIMERSLACK = 29
_MOST = 64
_libc = ctypes.CDLL(None, use_errno=True)


class _Event(ctypes.Structure):
    """struct epoll_event, epoll_ctl(2)."""

    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


class _Time(ctypes.Structure):
    """struct timespec, whose second field is a long in the calls of a 64-bit kernel."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


# On x86-64 the structure is packed, so that it is the same as on i386. Only the first half of `data`
# is the descriptor; Python leaves the other undefined. So both are read as words of 4 bytes.
_WORDS = 3 if platform.machine() == "x86_64" else ctypes.sizeof(_Event) // 4
_DESCRIPTOR = _WORDS - 2


def sharpen_timers() -> None:
    """Let this thread's waits end when they are due, and not up to 50 µs later."""
    _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def waiting_on(epoll: select.epoll) -> Wait:
    """Return the best way there is to wait on `epoll`.

    Its descriptor must be below 1,024, which is as far as select() can look.
    """
    return _precisely(epoll) or _by_select(epoll)


def _by_select(epoll: select.epoll) -> Wait:
    mine = (epoll.fileno(),)

    def wait(seconds: float) -> Ready:
        return epoll.poll(0, _MOST) if select.select(mine, (), (), seconds)[0] else ()

    return wait


def _precisely(epoll: select.epoll) -> Wait | None:
    call = getattr(_libc, "epoll_pwait2", None)
    if call is None:
        return None
    descriptor, most = ctypes.c_int(epoll.fileno()), ctypes.c_int(_MOST)
    words = (ctypes.c_int32 * (_WORDS * _MOST))()
    seen, time = memoryview(words).cast("B").cast("i"), _Time(0, 0)
    events, limit = ctypes.byref(words), ctypes.byref(time)
    # A kernel without the call says so (ENOSYS), and so does a seccomp filter that has not heard of
    # it (EPERM, in old versions of Docker's).
    if call(descriptor, events, most, limit, None) < 0:
        return None

    def wait(seconds: float) -> Ready:
        time.nanoseconds = int(seconds * 1e9)
        found = call(descriptor, events, most, limit, None)
        if found == 1:
            return ((seen[_DESCRIPTOR], seen[0]),)
        # Interrupted by a signal: nothing is ready, and the caller looks at its clock.
        assert found >= 0 or ctypes.get_errno() == errno.EINTR
        return [(seen[word + _DESCRIPTOR], seen[word]) for word in range(0, found * _WORDS, _WORDS)]

    return wait
