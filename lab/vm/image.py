"""The release that an x86 kernel image says it is. Pure.

The image's set-up header has the magic `HdrS` at 0x202, and at 0x20E where the version string is,
counted from 0x200 (Documentation/arch/x86/boot.rst).
"""

from __future__ import annotations

from typing import Final

from lab.vm.names import VmError

_MAGIC, _POINTER, _BASE = 0x202, 0x20E, 0x200
HEAD: Final = _BASE + (1 << 16) + 256
"""Bytes of the image that are enough to find it."""


def release_of(head: bytes, name: str) -> str:
    """Return what `uname -r` prints under this image.

    Args:
        head: the first `HEAD` bytes.
        name: of the file, for messages.

    Raises:
        VmError: when it is no such image.
    """
    if head[_MAGIC : _MAGIC + 4] != b"HdrS":
        raise VmError(f"{name} is no x86 kernel image", "give a vmlinuz or a bzImage")
    start = _BASE + int.from_bytes(head[_POINTER : _POINTER + 2], "little")
    words = head[start : start + 256].split(b"\0")[0].split()
    release = words[0].decode("ascii", errors="replace") if words else ""
    if not release[:1].isdigit() or "/" in release:
        raise VmError(f"{name} does not say which kernel it is")
    return release
