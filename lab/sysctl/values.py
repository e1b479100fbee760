"""Values of sysctls as the kernel reads and prints them: numbers, port lists, and when two are one."""

from __future__ import annotations

import re
from typing import Final

from lab.sysctl.catalogue import CATALOGUE

_NUMBER: Final = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)")


def spaced(value: str) -> str:
    r"""Return a value with its words parted by single blanks, the form in which values are kept.

    The kernel prints tabs and a line feed (`5000\t65000\n`); a file may have any blanks.
    """
    return " ".join(value.split())


def integers(value: str) -> tuple[int, ...] | None:
    """Return the whole numbers of a value, or None when it holds anything else.

    The kernel reads them in base 0 (lib/kstrtox.c): `0x` is hexadecimal, a leading `0` octal.
    """
    numbers = []
    for word in value.split():
        if not _NUMBER.fullmatch(word):
            return None
        octal = word.lstrip("-").startswith("0") and "x" not in word.lower()
        try:
            numbers.append(int(word, 8 if octal else 0))
        except ValueError:  # 08 and 09 begin as octal and are not
            return None
    return tuple(numbers) if numbers else None


def ports(value: str) -> tuple[tuple[int, int], ...] | None:
    """Return a port list such as `6379,11211-11213` as sorted, merged, inclusive ranges.

    None when it is not a port list. This is the form the kernel prints (proc_do_large_bitmap).
    """
    spans = []
    for part in filter(None, "".join(value.split()).split(",")):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            return None
        spans.append((int(first), int(last) if dash else int(first)))
    merged: list[tuple[int, int]] = []
    for first_port, last_port in sorted(spans):
        if merged and first_port <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last_port))
        else:
            merged.append((first_port, last_port))
    return tuple(merged)


def same_value(key: str, asked: str, got: str) -> bool:
    """Return whether `got`, read back from the kernel, is what `asked` means for `key`."""
    if spaced(asked) == spaced(got):
        return True
    entry = CATALOGUE.get(key)
    if entry is not None and entry.kind == "ports":
        wanted = ports(asked)
        return wanted is not None and wanted == ports(got)
    numbers = integers(asked)
    return numbers is not None and numbers == integers(got)
