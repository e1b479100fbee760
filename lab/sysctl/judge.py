"""Whether a line of a tuning can hold in a namespace, from what its files look like. Pure.

`lab.sysctl.apply` looks into a namespace of this machine, the Docker testbed into a container; the law is
the same for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.sysctl import refusals
from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.names import TRIGGERS, is_rooted, missing_module
from lab.sysctl.refusals import Refusal
from lab.sysctl.tuning import Setting, is_glob


@dataclass(frozen=True, slots=True)
class File:
    """A sysctl as one namespace shows it."""

    exists: bool
    writable: bool
    """By its mode: a container shows it although its /proc/sys is mounted read-only."""
    value: str | None
    readable: bool = True
    """By its mode: what can only be written does something and keeps no value."""


MISSING = File(exists=False, writable=False, value=None)


def refusal_of(setting: Setting, *, here: File, host: File, names: Iterable[str]) -> Refusal | None:
    """Return why a setting cannot be written, or None when there is nothing against it.

    Args:
        setting: the line.
        here: the key's file in the arm's namespace.
        host: the same on the host.
        names: dotted keys that exist in the namespace, to guess from.
    """
    if not is_rooted(setting.key) and not host.exists:
        return refusals.absent(setting, names)
    if not setting.key.startswith("net."):
        return refusals.out_of_scope(setting, exists=host.exists)
    if is_glob(setting.key):
        return refusals.glob(setting)
    if setting.key in TRIGGERS or (here.exists and not here.readable):
        return refusals.trigger(setting)
    entry = CATALOGUE.get(setting.key)
    shared = entry is not None and entry.scope == "host"
    if not here.exists:
        if host.exists or (shared and not missing_module(setting.key)):
            return refusals.host_wide(setting, host.value)
        return refusals.absent(setting, names)
    if shared or (host.writable and not here.writable):
        return refusals.host_wide(setting, here.value)
    return None if here.writable else refusals.read_only(setting, here.value)


def left_out(refusal: Refusal, *, lenient: bool) -> bool:
    """Whether a refused line is left out with its reason; else it is an error.

    Args:
        refusal: of the line.
        lenient: a key that is real but cannot be set here is no error.
    """
    return refusal.setting.may_fail or refusal.harmless or (lenient and refusal.known)
