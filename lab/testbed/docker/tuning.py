"""A tuning for containers: which lines the engine is asked to set, and what holds afterwards. Pure.

The work is that of `lab.sysctl.apply`, in the same order, but the engine does the writing: a container sees
its /proc/sys read-only. *Look*: a container without any setting shows which keys there are, and one
in the host's namespace shows the host's. *Write*: what is left goes to the engine, whose runtime
writes it before the container's program starts; it gives up at the first value that the kernel
refuses, and names it. *Read back*: the container looks again.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.sysctl import refusals
from lab.sysctl.judge import MISSING, File, left_out, refusal_of
from lab.sysctl.names import to_path
from lab.sysctl.refusals import Refusal
from lab.sysctl.tuning import Tuning, TuningError, where
from lab.sysctl.values import same_value
from lab.testbed.docker.orders import Seen

_RIGHTS = ("permission denied", "read-only file system", "operation not permitted")


@dataclass(slots=True)
class Order:
    """What becomes of a tuning's lines."""

    sysctls: dict[str, str] = field(default_factory=dict)
    """For the engine to set, by dotted key."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Left out, by key, each with line number and reason."""
    errors: list[Refusal] = field(default_factory=list)


def _file(seen: Seen, key: str) -> File:
    value = seen.values.get(key)
    return MISSING if value is None else File(True, key in seen.writable, value)  # noqa: FBT003 - a record


def order(tuning: Tuning, *, inside: Seen, host: Seen) -> Order:
    """Return what the engine is to set.

    Args:
        tuning: of an arm.
        inside: what a fresh container shows.
        host: what the host's namespace shows.
    """
    found = Order()
    for setting in tuning.settings:
        here, there = _file(inside, setting.key), _file(host, setting.key)
        refusal = refusal_of(setting, here=here, host=there, names=inside.names)
        value = there.value if here.value is None else here.value
        if refusal is None:
            found.sysctls[setting.key] = setting.value
        elif value is not None and same_value(setting.key, setting.value, value):
            continue  # it holds, no matter who owns it
        elif left_out(refusal, lenient=True):
            found.skipped[setting.key] = f"line {setting.line}: {refusal.reason}"
        else:
            found.errors.append(refusal)
    return found


def refused(tuning: Tuning, reason: str) -> Refusal | None:
    """Return which line the engine's words are about; None when they are about none.

    Runtimes put it differently (runc "write /proc/sys/net/…: invalid argument", crun "write to
    `/proc/sys/net/…`: Invalid argument"), but all of them name the file or the key.
    """
    words = reason.lower()
    forbidden = any(right in words for right in _RIGHTS)
    for setting in tuning.settings:
        if to_path(setting.key) in reason or setting.key in reason:
            kind = refusals.forbidden if forbidden else refusals.rejected
            return kind(setting, errno.EACCES if forbidden else errno.EINVAL)
    return None


def not_held(tuning: Tuning, asked: Mapping[str, str], got: Mapping[str, str]) -> list[Refusal]:
    """Return the lines that were set and read back as something else."""
    return [
        refusals.differs(setting, got.get(setting.key))
        for setting in tuning.settings
        if setting.key in asked
        and not same_value(setting.key, setting.value, got.get(setting.key, ""))
    ]


def error(tuning: Tuning, arm: str, problems: list[Refusal]) -> TuningError:
    """Return the error that names arm, line and remedy of each problem."""
    return TuningError(
        *(f"{arm} arm: {where(tuning, one.setting.line)}: {one}" for one in problems)
    )
