"""Looks at the sysctls of a container's namespace."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from lab.sysctl.apply import namespace_keys
from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.names import to_path
from lab.testbed.docker.orders import Seen, in_force
from loadgen.fleet.owner import boot_id
from loadgen.units import spaced

_ROOT = Path("/proc/sys")
_WRITE_BITS = 0o222


def read_back(keys: Iterable[str], *, catalogued: bool = True) -> dict[str, str]:
    """Return the values in force in this container of `keys` and of every catalogued key."""
    values = {}
    for key in dict.fromkeys((*(CATALOGUE if catalogued else ()), *keys)):
        try:
            text = (_ROOT / to_path(key)).read_text()
        except (OSError, UnicodeDecodeError):
            continue
        values[key] = spaced(text)
    return values


def keep(role: str, keys: Iterable[str]) -> None:
    """Write what is in force in this container to where the testbed looks for it."""
    in_force(role).write_bytes(msgspec.json.encode(read_back(keys)))


def look(keys: Iterable[str]) -> Seen:
    """Return what this container shows of the catalogued keys and of `keys`."""
    asked = list(keys)
    values = read_back(asked)
    return Seen(
        asked=asked,
        values=values,
        writable=[key for key in values if (_ROOT / to_path(key)).stat().st_mode & _WRITE_BITS],
        names=namespace_keys(),
        boot=boot_id(),
    )


def role(_: str, arguments: Sequence[str]) -> int:
    """`look KEY …`: print it as JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(look(arguments)) + b"\n")
    return 0
