"""The readers of one namespace, read in turn; no load, and at most one connection to each server."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import msgspec

from loadgen.sampling import (
    MachineReader,
    MemcachedReader,
    NamespaceReader,
    ProcessReader,
    Reader,
    sysctls_in_force,
)
from loadgen.sampling.sock_diag import Endpoint
from loadgen.summary import Number
from loadgen.watch.headroom import History, Reading

SCHEMA = "churnlab.watch/1"
_PORTS_SHARE = 0.005
"""Of one core, for counting ports: nothing else is measured here, so twice what a run allows."""


class WatchLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `loadgen watch --json`."""

    schema: str = SCHEMA
    time: str
    """RFC 3339."""
    t: float
    """Seconds since the first reading, on a steady clock."""
    values: dict[str, Number]
    """By the names of docs/metrics.md; counters as the kernel holds them."""
    headroom: list[dict[str, Any]]
    """Everything with a limit, the nearest to it first."""


class Session:
    """Watches one namespace; a context manager.

    Args:
        namespace: a descriptor of it, which must stay open; None for one's own.
        targets: addresses and ports toward which ports are counted and whose listeners are
            watched; empty for all there are.
        stats: ask the targets for memcached's statistics, over one connection each.
        pids: processes whose open files and CPU time are wanted.

    Raises:
        NamespaceError: when the namespace may not be entered.
        ValueError: when a target's host is a name.
    """

    def __init__(
        self,
        namespace: int | None,
        targets: Sequence[Endpoint] = (),
        *,
        stats: bool = False,
        pids: Sequence[int] = (),
    ) -> None:
        self.history = History()
        self._start: float | None = None
        self._values: dict[str, Number] = {}
        with ExitStack() as stack:
            self._reader = NamespaceReader(
                namespace, targets=targets, ports=True, share=_PORTS_SHARE
            )
            stack.callback(self._reader.close)
            self._others: list[Reader] = [MachineReader()]
            if pids:
                self._others.append(ProcessReader(pids))
            if stats:
                self._others.append(MemcachedReader(targets))
            for reader in self._others:
                stack.callback(reader.close)
            self.sysctls: Mapping[str, str] = sysctls_in_force(namespace)
            self._stack = stack.pop_all()

    @property
    def absent(self) -> dict[str, str]:
        """Metrics that cannot be read, each with the reason."""
        found: dict[str, str] = {}
        for reader in (self._reader, *self._others):
            found |= reader.absent
        return found

    def read(self, *, force: bool = False) -> WatchLine:
        """Take one reading and return it.

        Args:
            force: leave nothing out for its cost; the first reading never does.
        """
        now = time.monotonic()
        if self._start is None:
            self._start, force = now, True
        values: dict[str, Number] = {}
        for reader in (self._reader, *self._others):
            values |= reader.read(now=now, force=force)
        ports = self._reader.ports
        counted = (
            "ephemeral_ports_in_use" in values and ports is not None and ports.last is not None
        )
        self.history.add(
            Reading(
                now,
                values,
                ports.last.pools if counted and ports and ports.last else None,
                self._reader.listeners if "listen_queue" in values else None,
            )
        )
        return WatchLine(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            t=round(now - self._start, 6),
            values=values,
            headroom=[
                {
                    "metric": gauge.name,
                    "title": gauge.title,
                    **gauge.labels,
                    "value": gauge.value,
                    "limit": gauge.limit,
                    "share": round(gauge.share, 6),
                    "growth": None if gauge.growth is None else round(gauge.growth, 3),
                    "full_in": None if gauge.full_in is None else round(gauge.full_in, 3),
                }
                for gauge in self.history.gauges()
            ],
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all descriptors and connections."""
        self._stack.close()
