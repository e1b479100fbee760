"""Why a line of a tuning cannot hold, and what to do: the words, apart from the probing.

`lab.apply` finds out what happens to a line; here each finding becomes one clear line for the user.
A refusal is *known* when the catalogue explains it: the key is real, but belongs to the host, to
another kernel or to a module that is not loaded. The rest are mistakes: a name that nobody knows, a
value that the kernel does not take.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from lab.sysctl_names import missing_module, obsolete
from lab.sysctls import CATALOGUE
from lab.tuning import Setting

_MARK = "or put '-' before the key to run without this line"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One line that does not hold."""

    setting: Setting
    reason: str
    remedy: str
    known: bool
    """The key is understood and only cannot be set here; a tolerant caller may go on without it."""
    harmless: bool = False
    """The key does not bear on short connections at all; the lab goes on without it."""

    def __str__(self) -> str:
        return f"{self.setting.key}: {self.reason}; {self.remedy}"


def out_of_scope(setting: Setting) -> Refusal:
    """Outside net.*: no part of a network namespace, so writing it would change the host."""
    return Refusal(
        setting,
        "no part of a network namespace but of the whole host, which the lab leaves as it is",
        "set it on the host before the run if it matters",
        known=True,
        harmless=True,
    )


def host_wide(setting: Setting, current: str | None) -> Refusal:
    """One value for every namespace.

    Harmless unless the catalogue says that the key bears on short connections: both arms of an
    experiment have the host's value, and the catalogue names every key that decides a connect.
    """
    past = obsolete(setting.key)
    entry = CATALOGUE.get(past.became if past is not None else setting.key)
    stays = f", and stays {current}" if current is not None else ""
    return Refusal(
        setting,
        f"belongs to the host on this kernel, not to a namespace{stays}; "
        "the lab changes the host with --allow-host-sysctls only",
        f"set it there with `sysctl -w {setting.key}='{setting.value}'`, {_MARK}",
        known=True,
        harmless=entry is None or not entry.bears,
    )


def read_only(setting: Setting, current: str | None) -> Refusal:
    """A file that nobody may write, here or on the host."""
    shows = f" (it shows {current})" if current is not None else ""
    return Refusal(
        setting, f"read-only on this kernel{shows}", f"delete the line, {_MARK}", known=True
    )


def absent(setting: Setting, names: Iterable[str]) -> Refusal:
    """No such key in the namespace, nor on the host.

    Args:
        setting: the line.
        names: dotted keys that exist, to guess from.
    """
    module = missing_module(setting.key)
    exists = set(names)
    past = obsolete(setting.key)
    if past is not None:
        remedy = f"use {past.became}" if past.became else "delete the line"
        today = f" (today {past.became})" if past.became else ""
        return Refusal(setting, f"{past.why}{today}", f"{remedy}, {_MARK}", known=True)
    entry = CATALOGUE.get(setting.key)
    if module and not any(missing_module(name) == module for name in exists):
        what = "connection tracking" if module == "nf_conntrack" else "bridge filtering"
        return Refusal(
            setting,
            f"no such key, since {what} is not loaded",
            f"run `modprobe {module}`, {_MARK}",
            known=entry is not None,
        )
    if entry is not None:
        since = f" (it came with {entry.since})" if entry.since else ""
        return Refusal(
            setting, f"this kernel has no such key{since}", f"delete the line, {_MARK}", known=True
        )
    close = difflib.get_close_matches(setting.key, exists | set(CATALOGUE), n=1, cutoff=0.8)
    guess = f"did you mean {close[0]}?" if close else "correct the name"
    return Refusal(setting, "this kernel has no such key", f"{guess} {_MARK}", known=False)


def rejected(setting: Setting, error: int) -> Refusal:
    """The kernel refused the value: EINVAL, or another errno."""
    entry = CATALOGUE.get(setting.key)
    facts = [os.strerror(error)]
    if entry is not None:
        if entry.permitted:
            unit = f" {entry.unit}" if entry.unit and entry.unit != "port" else ""
            facts.append(f"permitted: {entry.permitted}{unit}")
        if setting.key == "net.ipv4.ip_local_port_range":
            facts.append("first <= last, and first >= ip_unprivileged_port_start")
    if "#" in setting.value or ";" in setting.value:
        facts.append("sysctl.d has no comments after a value")
    return Refusal(
        setting,
        f"the kernel rejects {setting.value!r} ({', '.join(facts)})",
        f"correct the value, {_MARK}",
        known=False,
    )


def forbidden(setting: Setting, error: int) -> Refusal:
    """The write failed for want of rights, not for its value."""
    return Refusal(
        setting,
        f"may not be written: {os.strerror(error)}",
        "run the lab as root, or where /proc/sys is not mounted read-only",
        known=False,
    )


def differs(setting: Setting, got: str | None) -> Refusal:
    """Written without an error, but something else is in force."""
    found = "cannot be read back" if got is None else f"reads back {got!r}"
    return Refusal(
        setting,
        f"was set to {setting.value!r} but {found}",
        f"write the value in the kernel's own form, {_MARK}",
        known=False,
    )


def leaked(setting: Setting) -> Refusal:
    """Writing it in the namespace changed the host, and the host's value was put back."""
    return Refusal(
        setting,
        "writable in a namespace but shared with the host on this kernel; "
        "the host's value was put back",
        f"set it on the host with `sysctl -w {setting.key}='{setting.value}'`, {_MARK}",
        known=True,
    )
