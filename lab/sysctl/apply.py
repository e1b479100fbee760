"""Puts a tuning in force in a network namespace, and reads back what holds.

/proc/sys/net shows the namespace of the thread that opens a file, so everything here runs in a
thread that has entered the arm's namespace (`loadgen.sampling.namespace.run_inside`). The order of work:

1. *Look.* Every line is judged without writing: does the key exist, here or on the host only; is it
   the host's; is it writable? A line whose value is in force already holds, whoever owns the key.
2. *Write*, in the file's order. The kernel judges the values; our catalogue only explains its
   refusals.
3. *Read back*, at the end, since a later line may change what an earlier one set.

Nothing outside the namespace may change. Keys outside net.* and keys that the catalogue knows as
the host's are never written. As kernels have had keys that were writable in a namespace and yet
shared (lab/sysctl/catalogue), the host's value is read before and after each write, and put back if it
moved with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final, Protocol, TypeVar

from lab.sysctl import refusals
from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.judge import MISSING, File, left_out, refusal_of
from lab.sysctl.names import to_key, to_path
from lab.sysctl.refusals import Refusal
from lab.sysctl.tuning import Setting, Tuning, TuningError, where
from lab.sysctl.values import same_value
from loadgen.sampling.namespace import own_namespace, run_inside
from loadgen.units import spaced

_ROOT: Final = Path("/proc/sys")
_WRITE_BITS: Final = 0o222
_READ_BITS: Final = 0o444
_FOLDERS: Final = ("bridge", "core", "ipv4", "netfilter", "unix")
_FAMILIES: Final = ("ipv4", "ipv6")
_TREES: Final = ("conf", "neigh")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Applied:
    """What holds in a namespace after a tuning was applied."""

    in_force: dict[str, str]
    """Read back, by dotted key: what the tuning set, and every catalogued key that exists here, so
    that an arm which sets nothing is on record too. Blanks inside values are single spaces."""
    skipped: dict[str, str]
    """Lines left out, by key, each with line number and reason: `-key` lines that cannot hold, and
    keys that have no bearing on short connections (the host's, or of no network at all)."""


def read_sysctls(namespace: int, keys: Iterable[str]) -> dict[str, str]:
    """Return the values of dotted keys in a namespace; keys that cannot be read are left out.

    Args:
        namespace: a descriptor, as `loadgen.sampling.namespace` gives them.
        keys: dotted.

    Raises:
        NamespaceError: when the namespace may not be entered.
    """
    wanted = tuple(keys)
    return run_inside(namespace, lambda: _read_all(_ROOT, wanted))


def namespace_keys(root: Path = _ROOT) -> list[str]:
    """Return the dotted keys that exist in this thread's namespace; of devices those of `default`.

    What a device that is not here would have, every new device gets from `default`.
    """
    net = root / "net"
    leaves = [path for folder in _FOLDERS for path in net.joinpath(folder).glob("*")]
    for family, tree in product(_FAMILIES, _TREES):
        leaves += net.joinpath(family, tree).glob("default/*")
    return [to_key(str(path.relative_to(root))) for path in leaves]


def own_sysctls(keys: Iterable[str]) -> dict[str, str]:
    """Return the values of dotted keys in this thread's own namespace, which needs no rights."""
    return _read_all(_ROOT, keys)


def apply(tuning: Tuning, namespace: int, *, arm: str, role: str, lenient: bool = False) -> Applied:
    """Put `tuning` in force in a namespace of the lab's own making.

    Args:
        tuning: what to set.
        namespace: a descriptor, as `loadgen.sampling.namespace` gives them. After an error the namespace
            may hold part of the tuning; it is not fit for a trial and is to be closed.
        arm: `before` or `after`, for messages.
        role: `client` or `server`, for messages.
        lenient: also leave out lines whose key is real but cannot be set here (the host's, another
            kernel's, a module's that is not loaded), as if they were written `-key`. Unknown names
            and refused values remain errors.

    Raises:
        TuningError: for the lines that cannot hold: arm, role, file, line, reason and remedy, one
            line each in `problems`.
        NamespaceError: when the namespace may not be entered.
        ValueError: when `namespace` is the one the lab itself runs in.
    """
    if _is_own(namespace):
        raise ValueError("the namespace is the lab's own: a tuning may only go into a new one")
    attempt = _Attempt(tuning, partial(run_inside, namespace), _ROOT, lenient=lenient)
    for step in (attempt.look, attempt.write, attempt.read_back):
        step()
        if attempt.errors:
            raise TuningError(
                *(
                    f"{arm} arm ({role}): {where(tuning, refusal.setting.line)}: {refusal}"
                    for refusal in attempt.errors
                )
            )
    return Applied(attempt.in_force, attempt.skipped)


class _Inside(Protocol):
    """Runs a call in the arm's namespace."""

    def __call__(self, call: Callable[[], _T]) -> _T: ...


class _Attempt:
    """One application of a tuning; its refusals go to `errors` or to `skipped`."""

    def __init__(self, tuning: Tuning, inside: _Inside, root: Path, *, lenient: bool) -> None:
        self.tuning = tuning
        self.inside = inside
        self.root = root
        self.lenient = lenient
        self.pending: list[Setting] = []
        self.errors: list[Refusal] = []
        self.skipped: dict[str, str] = {}
        self.in_force: dict[str, str] = {}

    def look(self) -> None:
        """Judge every line without writing; what the kernel is to decide becomes `pending`."""
        for setting in self.tuning.settings:
            host = _look(self._path(setting.key))
            refusal = self.inside(partial(self._judge, setting, host))
            if refusal is None:
                self.pending.append(setting)
            elif not self._in_force(setting, host):
                self._refuse(refusal)

    def write(self) -> None:
        """Write what is pending, in the file's order; what the kernel refuses is pending no more."""
        written = []
        for setting in self.pending:
            path = self._path(setting.key)
            before = _read(path)
            try:
                self.inside(partial(_write, path, setting.value))
            except OSError as error:
                code = error.errno or 0
                kind = refusals.forbidden if code in refusals.RIGHTS else refusals.rejected
                self._refuse(kind(setting, code))
                continue
            after = _read(path)
            if None not in {before, after} and before != after:
                _write(path, before or "")
                self._refuse(refusals.leaked(setting))
            else:
                written.append(setting)
        self.pending = written

    def read_back(self) -> None:
        """Read what is in force; a value that is not what was asked is refused."""
        keys = (*CATALOGUE, *self.tuning.values)
        self.in_force = self.inside(partial(_read_all, self.root, keys))
        for setting in self.pending:
            got = self.in_force.get(setting.key)
            if got is None or not same_value(setting.key, setting.value, got):
                self._refuse(refusals.differs(setting, got))

    def _judge(self, setting: Setting, host: File) -> Refusal | None:
        """Return why a setting cannot be written, or None when there is nothing against it."""
        here = _look(self._path(setting.key))
        names = () if here.exists else namespace_keys(self.root)
        return refusal_of(setting, here=here, host=host, names=names)

    def _in_force(self, setting: Setting, host: File) -> bool:
        """Whether a key that cannot be set has the wanted value anyway.

        One that only the host's namespace shows is one for all namespaces: the host's value holds.
        """
        here = self.inside(partial(_read, self._path(setting.key)))
        value = host.value if here is None else here
        return value is not None and same_value(setting.key, setting.value, value)

    def _path(self, key: str) -> Path:
        return self.root / to_path(key)

    def _refuse(self, refusal: Refusal) -> None:
        setting = refusal.setting
        if left_out(refusal, lenient=self.lenient):
            self.skipped[setting.key] = f"line {setting.line}: {refusal.reason}"
        else:
            self.errors.append(refusal)


def _is_own(namespace: int) -> bool:
    own = own_namespace()
    try:
        return os.path.sameopenfile(own, namespace)
    finally:
        os.close(own)


def _look(path: Path) -> File:
    if not path.is_file():
        return MISSING
    mode = path.stat().st_mode
    return File(
        exists=True,
        writable=bool(mode & _WRITE_BITS),
        readable=bool(mode & _READ_BITS),
        value=_read(path),
    )


def _read(path: Path) -> str | None:
    try:
        return spaced(path.read_text())
    except (OSError, UnicodeDecodeError):
        return None


def _read_all(root: Path, keys: Iterable[str]) -> dict[str, str]:
    found = ((key, _read(root / to_path(key))) for key in keys)
    return {key: value for key, value in found if value is not None}


def _write(path: Path, value: str) -> None:
    """Write as sysctl(8) does: the whole value and a newline in one write(2).

    Raises:
        OSError: the kernel's answer.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, f"{value}\n".encode())
    finally:
        os.close(descriptor)
