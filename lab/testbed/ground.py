"""The ground that an experiment stands on: two fresh namespaces, and what can be done in them.

Settings go through `lab.sysctl.apply`, counters come through `loadgen.sampling`; here they are only put
within an experiment's reach.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

import trio

from lab.sysctl.apply import apply, read_sysctls
from lab.sysctl.tuning import TuningError, parse
from lab.testbed.base import UntestableError
from loadgen.sample import ROLE_CLIENT
from loadgen.sampling import NamespaceReader
from loadgen.sampling.namespace import run_inside

Role = Literal["client", "server"]

_NAP: Final = 0.2
"""Seconds between two looks at whether the run was cancelled."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Ground:
    """Two linked namespaces. Everything opened through it is closed with `stack`."""

    client: int
    server: int
    source: str
    """The client's address."""
    servers: tuple[str, ...]
    """The server's addresses."""
    notes: tuple[str, ...] = ()
    """What was asked of the testbed and this kernel could not give."""
    stack: ExitStack = field(default_factory=ExitStack)

    def namespace(self, role: Role) -> int:
        """Return the descriptor of a side's namespace."""
        return self.client if role == ROLE_CLIENT else self.server

    def inside(self, role: Role, call: Callable[[], _T]) -> _T:
        """Return `call()`, run in a thread that has entered a side's namespace."""
        return run_inside(self.namespace(role), call)

    def set(self, role: Role, settings: Mapping[str, str | int]) -> None:
        """Write sysctls, by dotted key.

        Raises:
            UntestableError: when this kernel does not have a key, or does not take the value.
        """
        lines = (f"{key} = {value}\n" for key, value in settings.items())
        tuning = parse("".join(lines), name="experiment", source="experiment")
        try:
            apply(tuning, self.namespace(role), arm="experiment", role=role)
        except TuningError as error:
            raise UntestableError(str(error)) from error

    def accepts(self, role: Role, key: str, value: str | int) -> bool:
        """Write one sysctl and tell whether the kernel took the value."""
        try:
            self.set(role, {key: value})
        except UntestableError:
            return False
        return True

    def get(self, role: Role, key: str) -> str | None:
        """Return a sysctl's value, None where this kernel has no such key."""
        return read_sysctls(self.namespace(role), [key]).get(key)

    def watch(self, role: Role) -> Watch:
        """Begin to watch a side's counters."""
        reader = NamespaceReader(self.namespace(role))
        self.stack.callback(reader.close)
        return Watch(reader)


class Watch:
    """One namespace's counters, and how far they moved since the last `reset`."""

    def __init__(self, reader: NamespaceReader) -> None:
        self._reader = reader
        self._first = reader.snapshot()

    def reset(self) -> None:
        """Count from now on."""
        self._first = self._reader.snapshot()

    def value(self, metric: str) -> int:
        """Return a metric of `loadgen.metrics` as it is now.

        Raises:
            UntestableError: when it cannot be read here, with the reason.
        """
        found = self._reader.read(force=True).get(metric)
        if found is None:
            raise UntestableError(
                f"{metric}: {self._reader.absent.get(metric, 'cannot be read here')}"
            )
        return int(found)

    def moved(self, metric: str) -> int:
        """Return how far a metric moved; one that could not be read at first began at 0."""
        return self.value(metric) - int(self._first.values.get(metric, 0))

    def counters_moved(self) -> dict[str, int]:
        """Return every field of /proc/net/snmp and netstat that moved, by `Section_Field`."""
        before, after = self._first.counters, self._reader.snapshot().counters
        changes = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
        return {name: change for name, change in sorted(changes.items()) if change}


def sleep(seconds: float) -> None:
    """Sleep in an experiment's thread.

    Raises:
        trio.Cancelled: when the run is cancelled meanwhile.
    """
    end = time.monotonic() + seconds
    while True:
        trio.from_thread.check_cancelled()
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _NAP))
