"""The release in a kernel image's header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.vm.image import release_of
from lab.vm.names import VmError


def image(said: bytes, at: int = 0x3000) -> bytes:
    """Return the head of an image that says this of itself."""
    head = bytearray(0x200 + at)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = at.to_bytes(2, "little")
    return bytes(head) + said + b"\0rest"


def test_the_first_word_is_the_release() -> None:
    said = b"6.1.0-50-amd64 (somebody@example.org) #1 SMP Debian 6.1.176-1"
    assert release_of(image(said), "vmlinuz") == "6.1.0-50-amd64"


@pytest.mark.parametrize("said", [b"", b"../../etc", b"6.1/../.."])
def test_what_names_no_release_is_refused(said: bytes) -> None:
    with pytest.raises(VmError, match="vmlinuz does not say which kernel it is"):
        release_of(image(said), "vmlinuz")


@given(st.binary(max_size=0x400))
def test_any_other_file_is_refused(data: bytes) -> None:
    with pytest.raises(VmError, match="no x86 kernel image"):
        release_of(data, "notes.txt")
