"""Values of sysctls as the kernel reads and prints them: numbers, port lists, and when two are one."""

from __future__ import annotations

import re
from typing import Final

from lab.sysctl.catalogue import CATALOGUE
from loadgen.search import port_spans
from loadgen.units import spaced

_NUMBER: Final = re.compile(r"-?(0[xX][0-9a-fA-F]+|[0-9]+)")


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

    None when it is not a port list.
    """
    try:
        return port_spans(value)
    except ValueError:
        return None


_WORDS: Final = {
    "on": "1", "yes": "1", "true": "1", "enable": "1", "enabled": "1",
    "off": "0", "no": "0", "false": "0", "disable": "0", "disabled": "0",
}  # fmt: skip
"""What people write for a switch; the kernel's parser of numbers takes none of it."""
_RANGE: Final = "net.ipv4.ip_local_port_range"


def unfit_value(key: str, value: str) -> str:
    """Return why the kernel cannot take a value for a key that decides connects, and what to write.

    Empty for a value that it may take: only the form is judged here, the kernel at hand decides on
    the number (EINVAL from `proc_get_long` in kernel/sysctl.c for all of these, tried on 6.18). A key
    that is not catalogued, or decides no connect, is left to the kernel altogether.
    """
    entry = CATALOGUE.get(key)
    if entry is None or not entry.bears or entry.kind == "text":
        return ""
    numbers = integers(value)
    if entry.kind == "ports":
        if ports(value) is not None:
            return ""
    elif numbers is not None:
        return _unfit_range(numbers) if key == _RANGE else ""
    bare = re.split("[#;]", value, maxsplit=1)[0].strip("\"' \t")
    if entry.kind == "integers":
        bare = bare.replace("-", " ").replace(",", " ")
    bare = _WORDS.get(bare.lower(), bare)
    fits = ports(bare) is not None if entry.kind == "ports" else integers(bare) is not None
    remedy = f"write {spaced(bare)}" if bare and fits else "correct the value"
    what = "port list" if entry.kind == "ports" else "whole number"
    if value[:1] in {'"', "'"} and fits:
        return (
            "sysctl(8) and systemd-sysctl hand the quotes on, and the kernel rejects them; "
            + remedy
        )
    if value.endswith(";") and fits:
        return "sysctl(8) and systemd-sysctl hand the ';' on, and the kernel rejects it; " + remedy
    return f"{value!r} is no {what}, and the kernel rejects it; {remedy}"


def _unfit_range(numbers: tuple[int, ...]) -> str:
    if len(numbers) == 1:
        return (
            "one number: the kernel takes it for the first port and leaves the last as it is; write "
            "both"
        )
    low, high = numbers[:2]
    if not 0 < low <= high <= 65_535:
        return "is no range of ports; write the first and the last, 1 to 65535"
    return ""


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
