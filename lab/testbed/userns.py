"""An ordinary user's way to network namespaces: a user namespace of one's own.

A process that makes a user namespace has every capability inside it (user_namespaces(7)), and so
may make network namespaces, wire them up and set their sysctls. It is root there and still itself
to everyone else: the files it writes belong to the user, and it can do nothing to the host.

The move is made in this process, not by starting the command again under unshare(1): file names,
exit codes, signals and the terminal stay as they are. The kernel allows it to a process with a
single thread only, so it has to come first.

Distributions and containers forbid user namespaces in ways that all look like EPERM. Which setting
it was can be read from /proc, and the message says which.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

from lab.testbed.base import TestbedError
from loadgen.sampling.namespace import NamespaceError, new_namespace

CLONE_NEWUSER = 0x10000000
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_libc = ctypes.CDLL(None, use_errno=True)

# Setting, the value that forbids, and what to do about it; in the order in which the kernel asks.
_FORBIDDING = (
    ("user.max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    ("kernel.unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def read_proc(path: str) -> str | None:
    """Return the file's text, or None where this kernel has no such file."""
    try:
        return Path(path).read_text()
    except OSError:
        return None


def _status(field: str, read: Callable[[str], str | None]) -> str:
    for line in (read("/proc/thread-self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return ""


def has_privileges(read: Callable[[str], str | None] = read_proc) -> bool:
    """Tell whether this thread is root with CAP_SYS_ADMIN and CAP_NET_ADMIN.

    Capabilities without root do not do: programs that are started would lose them.
    """
    uids = _status("Uid", read).split()  # real, effective, saved, file system
    held = int(_status("CapEff", read) or "0", 16)
    wanted = 1 << _CAP_NET_ADMIN | 1 << _CAP_SYS_ADMIN
    return uids[1:2] == ["0"] and held & wanted == wanted


def forbidden(error: int, read: Callable[[str], str | None] = read_proc) -> TestbedError:
    """Return the error that names the setting which forbids user namespaces, with the remedy.

    Args:
        error: the errno of the refused call.
        read: how to read a file of /proc.
    """
    opening = "making network namespaces needs root, and as an ordinary user"
    for setting, forbids, remedy in _FORBIDDING:
        value = read("/proc/sys/" + setting.replace(".", "/"))
        if value is not None and value.strip() == forbids:
            return TestbedError(
                f"{opening} {setting}={forbids} forbids it here",
                f"run as root, or let the administrator run: {remedy}",
            )
    if read("/proc/self/uid_map") is None:
        return TestbedError(
            f"{opening} this kernel has no user namespaces (CONFIG_USER_NS)", "run as root"
        )
    if _status("Seccomp", read) == "2":
        return TestbedError(
            f"{opening} a seccomp filter forbids it here, as Docker's default does",
            "run the container with --privileged, or on the host",
        )
    return TestbedError(
        f"{opening} the kernel forbids it here ({os.strerror(error)})", "run as root"
    )


def ensure_privileges() -> bool:
    """Make sure that network namespaces can be made; call it before any thread is started.

    Does nothing when they can already. Otherwise this process enters a user namespace of its own,
    permanently, in which it and its children are root; its user on the host stays what it was.

    Returns:
        True when a user namespace was entered.

    Raises:
        TestbedError: when it is forbidden; one line that names the setting.
        RuntimeError: when threads run already.
    """
    if has_privileges():
        return False
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("a user namespace can only be entered before threads are started")
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(CLONE_NEWUSER) != 0:
        raise forbidden(ctypes.get_errno())
    try:
        # An ordinary user may map a group only after giving up setgroups() (CVE-2014-8989).
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        os.close(new_namespace())
    except OSError as error:
        raise forbidden(error.errno or errno.EPERM) from error
    except NamespaceError as error:
        # AppArmor's way: the namespace is granted and its capabilities are not.
        raise forbidden(errno.EPERM) from error
    return True
