"""The readers of one namespace, read in turn; no load, and at most one connection to each server."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Literal, Self

from loadgen.protocols import memcached
from loadgen.sampling import (
    MachineReader,
    NamespaceReader,
    PortsInUse,
    ProcessReader,
    Reader,
    ServerReader,
    sysctls_in_force,
)
from loadgen.sampling.namespace import NamespaceError
from loadgen.sampling.owners import Owners
from loadgen.sampling.sock_diag import Endpoint
from loadgen.sampling.tracked import TrackedReader
from loadgen.summary import Number, Record
from loadgen.watch.forecast import rules
from loadgen.watch.headroom import History, Reading
from loadgen.watch.who import Memory, Who, who

SCHEMA: Final = "churnlab.watch/2"
_PORTS_SHARE, _TRACKED_SHARE = 0.005, 0.002
"""Of one core, for counting sockets and for reading conntrack's table: nothing else is measured here."""
SETTINGS_EVERY = 10.0
"""Seconds between two readings of the settings in force."""


class Limit(Record, frozen=True, kw_only=True):
    """One thing that runs into a limit."""

    metric: str
    """Its name in docs/metrics.md."""
    title: str
    labels: dict[str, str]
    """Which one of several: source, destination and port, or address and port."""
    value: Number
    limit: Number
    share: float
    growth: float | None
    """A second, over the last 10 s; None while there is only one reading."""
    full_in: float | None
    """Seconds until the limit is reached at this rate, 0 when it is."""


class WatchLine(Record, frozen=True, kw_only=True):
    """One line of `loadgen watch --json`."""

    schema: Literal["churnlab.watch/2"] = SCHEMA
    time: str
    """RFC 3339."""
    t: float
    """Seconds since the first reading, on a steady clock."""
    values: dict[str, Number]
    """By the names of docs/metrics.md; counters as the kernel holds them."""
    headroom: list[Limit]
    """Everything with a limit, the nearest to it first."""
    who: Who | None
    """Who uses what; None in a line whose reading did not count sockets again, for its cost."""


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
                namespace, targets=targets, ports=True, share=_PORTS_SHARE, census=True
            )
            stack.callback(self._reader.close)
            self._tracked: TrackedReader | None = None
            with suppress(OSError):
                self._tracked = TrackedReader(namespace, share=_TRACKED_SHARE)
                stack.callback(self._tracked.close)
            self._others: list[Reader] = [MachineReader()]
            if pids:
                self._others.append(ProcessReader(pids))
            if stats:
                self._others.append(ServerReader(memcached.statistics(), targets))
            for reader in self._others:
                stack.callback(reader.close)
            self._namespace = namespace
            self.sysctls: Mapping[str, str] = sysctls_in_force(namespace)
            self._settings_due = time.monotonic() + SETTINGS_EVERY
            self._owners, self._memory = Owners(), Memory()
            self.who: Who | None = None
            """Who uses what, as last counted; None before the first count."""
            self._stack = stack.pop_all()

    @property
    def absent(self) -> dict[str, str]:
        """Metrics that cannot be read, each with the reason."""
        found: dict[str, str] = {}
        for reader in (self._reader, *self._others):
            found |= reader.absent
        if self._tracked is not None and self._tracked.reason is not None:
            found["conntrack entries by destination"] = self._tracked.reason
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
        if now >= self._settings_due:
            self._settings_due = now + SETTINGS_EVERY
            with suppress(NamespaceError):
                self.sysctls = sysctls_in_force(self._namespace)
        counted = self._count(now, values, force=force)
        self.history.add(
            Reading(
                now,
                values,
                None if counted is None else counted.pools,
                self._reader.listeners if "listen_queue" in values else None,
            )
        )
        return WatchLine(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            t=round(now - self._start, 6),
            values=values,
            headroom=[
                Limit(
                    metric=gauge.name,
                    title=gauge.title,
                    labels=dict(gauge.labels),
                    value=gauge.value,
                    limit=gauge.limit,
                    share=round(gauge.share, 6),
                    growth=None if gauge.growth is None else round(gauge.growth, 3),
                    full_in=None if gauge.full_in is None else round(gauge.full_in, 3),
                )
                for gauge in self.history.gauges()
            ],
            who=self.who if counted is not None else None,
        )

    def _count(self, now: float, values: Mapping[str, Number], *, force: bool) -> PortsInUse | None:
        """Find out who uses what when sockets were counted in this reading; return the count."""
        tracked = None
        if self._tracked is not None and "nf_conntrack_entries" in values:
            tracked = self._tracked.read(now, force=force)
        ports = self._reader.ports
        if ports is None:
            return None
        if "ephemeral_ports_in_use" not in values or ports.last is None:
            live = ports.look(now)
            if live is not None:
                self._memory.add(now, live, self._owners.of(live, now))
            return None
        census = ports.last.census
        assert census is not None
        self._memory.add(now, census.live, self._owners.of(census.live, now))
        entries = values.get("nf_conntrack_entries")
        found = rules(self.sysctls, platform.release())
        self.who = who(
            census, self._memory, found, tracked, None if entries is None else int(entries)
        )
        return ports.last

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
