"""Why a line of a tuning cannot hold, and what to do: the words, apart from the probing.

`lab.sysctl.apply` finds out what happens to a line; here each finding becomes one clear line for the user.
A refusal is *known* when the catalogue explains it: the key is real, but belongs to the host, to
another kernel or to a module that is not loaded, or it decides no connect. The rest are mistakes: a
name that nobody knows, a value that the kernel does not take for a key that matters.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from dataclasses import dataclass
from os import strerror
from typing import Final

from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.names import device_of, elsewhere, missing_module, obsolete
from lab.sysctl.tuning import Setting

RIGHTS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""With which a write fails for want of rights, whatever the value."""
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


def out_of_scope(setting: Setting, *, exists: bool) -> Refusal:
    """Outside net.*: no part of a network namespace, so writing it would change the host."""
    lacking = "" if exists else " (which has no such key)"
    return Refusal(
        setting,
        f"no part of a network namespace but of the whole host{lacking}, which the lab leaves as "
        "it is",
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


def glob(setting: Setting) -> Refusal:
    """A pattern over network devices."""
    return Refusal(
        setting,
        "a glob over network devices: which keys it means depends on the devices present, and none "
        "of them decides whether a connection finds a port, a queue slot or a conntrack entry",
        "write one line for each key if it matters",
        known=True,
        harmless=True,
    )


def trigger(setting: Setting) -> Refusal:
    """A file that can only be written: it does something and keeps no value."""
    return Refusal(
        setting,
        "an action and no setting: it can be written and never read back",
        "delete the line",
        known=True,
        harmless=True,
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
    device = device_of(setting.key)
    if device is not None and device[1] in exists:
        return Refusal(
            setting,
            f"the lab's namespaces have no device {device[0]}",
            "delete the line",
            known=True,
            harmless=True,
        )
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
    reason = elsewhere(setting.key)
    if reason:
        return Refusal(setting, reason, f"delete the line, {_MARK}", known=True, harmless=True)
    close = difflib.get_close_matches(setting.key, exists | set(CATALOGUE), n=1, cutoff=0.8)
    guess = f"did you mean {close[0]}?" if close else "correct the name"
    return Refusal(setting, "this kernel has no such key", f"{guess} {_MARK}", known=False)


def rejected(setting: Setting, error: int) -> Refusal:
    """The kernel refused the value: EINVAL, or another errno."""
    entry = CATALOGUE.get(setting.key)
    facts = [strerror(error)]
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
        known=_without_bearing(setting.key),
    )


def _without_bearing(key: str) -> bool:
    """Whether a key that exists decides no connect: the catalogue names every one that does.

    What such a key is set to, or fails to be set to, changes no result; a congestion control that
    this kernel lacks must not stop a run.
    """
    entry = CATALOGUE.get(key)
    return entry is None or not entry.bears


def forbidden(setting: Setting, error: int) -> Refusal:
    """The write failed for want of rights, not for its value."""
    return Refusal(
        setting,
        f"may not be written: {strerror(error)}",
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
        known=_without_bearing(setting.key),
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
