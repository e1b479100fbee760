"""`python -m tests.unprivileged.filtered WHAT COMMAND…`: a command that the kernel forbids things to.

WHAT is a list with commas: `netlink` forbids netlink sockets, `setns` to enter a namespace, `unshare` to
make one; each as a seccomp filter of a container would, with an errno. `root` takes root's capabilities
away first: who is left is an ordinary user in all but the files. A filter is inherited and cannot be
taken off again (seccomp(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _FILTER = 38, 22, 24, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06  # of classic BPF: words at an offset, compare, return
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data
_AF_NETLINK: Final = 16
_CALLS: Final = {
    "x86_64": {"socket": 41, "unshare": 272, "setns": 308},
    "aarch64": {"socket": 198, "unshare": 97, "setns": 268},
}
_CAPABILITIES: Final = 64
"""More than there are; the rest is refused."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def forbid(*what: str) -> None:
    """Forbid this process and its children these things, for good.

    Raises:
        OSError: where the kernel takes no filter.
    """
    numbers = _CALLS[platform.machine()]
    lines = []
    for one in what:
        if one == "netlink":
            refused = _ERRNO | errno.EAFNOSUPPORT
            lines += [(_LOAD, 0, 0, _NUMBER), (_EQUALS, 0, 3, numbers["socket"])]
            lines += [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUALS, 0, 1, _AF_NETLINK)]
        else:
            refused = _ERRNO | errno.EPERM
            lines += [(_LOAD, 0, 0, _NUMBER), (_EQUALS, 0, 1, numbers[one])]
        lines.append((_RETURN, 0, 0, refused))
    lines.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("HBBI", *line) for line in lines)
    program = _Program(len(lines), code)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


def main() -> None:
    what, *words = sys.argv[1:]
    kinds = what.split(",")
    if "root" in kinds:
        for capability in range(_CAPABILITIES):
            # From the bounding set, so that the next program has none (capabilities(7)).
            ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    forbid(*(kind for kind in kinds if kind != "root"))
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
