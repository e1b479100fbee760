"""Network namespaces, entered by a thread so that the process itself never moves.

Which namespace a /proc/net file, a sysctl under /proc/sys/net or a socket belongs to is decided at
open time by the namespace of the *thread* that opens it, and stays so for the life of the
descriptor (network_namespaces(7), setns(2)). A short-lived thread can therefore open things inside
another namespace and hand the descriptors to the rest of the program; when the thread ends, no
trace of the move is left.

Files under /proc/net are opened as /proc/thread-self/net/…: plain /proc/net is the namespace of the
process's first thread, wherever the opening thread has moved to (proc(5)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from loadgen.errors import ChurnlabError

CLONE_NEWNET = 0x40000000
_NAMED = Path("/run/netns")
_libc = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")


class NamespaceError(ChurnlabError):
    """A namespace that cannot be opened, made or entered."""


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        remedy = _way_in() if error == errno.EPERM else ""
        raise NamespaceError(f"{what}: {os.strerror(error)}", remedy)


def _way_in() -> str:
    """Return what helps where namespaces are forbidden; all who forbid them say EPERM."""
    if "\nSeccomp:\t2\n" in Path("/proc/thread-self/status").read_text():
        return (
            "a seccomp filter may forbid it, as Docker's default does: run the container with "
            "--privileged, or on the host"
        )
    if os.geteuid() == 0:
        return "it takes CAP_SYS_ADMIN, which root does not have here"
    return "run it as root, or in a user namespace"


def _in_thread(call: Callable[[], _T]) -> _T:
    """Run `call` in a new thread that ends with it; what it raises is raised here."""
    results: list[_T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="netns", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def open_namespace(name: str) -> Iterator[int]:
    """Open the namespace that `name` means, for the length of one `with`; gives its descriptor.

    Args:
        name: a process id, a name that `ip netns` knows, or a path to a namespace file.

    Raises:
        NamespaceError: when there is no such namespace, or it is not ours to open.
    """
    if name.isdigit():
        path = Path("/proc", name, "ns/net")
    elif "/" in name:
        path = Path(name)
    else:
        path = _NAMED / name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceError(
            f"no network namespace {name!r}: {path}: {error.strerror}",
            "give a process id, a name from `ip netns list` or a path",
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def own_namespace() -> int:
    """Return a descriptor of the calling thread's namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def new_namespace() -> int:
    """Make a network namespace and return a descriptor; it lives as long as the descriptor.

    Raises:
        NamespaceError: without CAP_SYS_ADMIN in the current user namespace.
    """

    def make() -> int:
        _check(_libc.unshare(CLONE_NEWNET), "cannot make a network namespace")
        return own_namespace()

    return _in_thread(make)


def run_inside(descriptor: int, call: Callable[[], _T]) -> _T:
    """Return `call()`, run in a thread that has entered the namespace of `descriptor`.

    Raises:
        NamespaceError: when the namespace may not be entered.
        Exception: whatever `call` raises.
    """

    def enter_and_call() -> _T:
        _check(_libc.setns(descriptor, CLONE_NEWNET), "cannot enter the network namespace")
        return call()

    return _in_thread(enter_and_call)
