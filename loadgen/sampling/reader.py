"""The kernel's counters of one network namespace, read from outside through kept descriptors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from loadgen.metrics import LISTENER
from loadgen.sampling import parse
from loadgen.sampling.files import KeptFile, within
from loadgen.sampling.namespace import NamespaceError
from loadgen.sampling.ports import DEFAULT_SHARE, PortRange, PortReader
from loadgen.sampling.snapshots import ListenQueue, NamespaceState
from loadgen.sampling.sock_diag import DiagError, DiagSocket, Endpoint, Listener, Pool
from loadgen.sampling.sources import SLOW_EVERY, Source, Tier, sources
from loadgen.sampling.sysctls import sysctls_in_force
from loadgen.summary import Number

Values = dict[str, Number]
MOST_POOLS = 50
"""Pools that a snapshot keeps: a server that thousands of clients reach may have as many."""
REOPEN_EVERY = 10.0
"""Seconds between tries to open what was not there: a module may be loaded in the meantime."""


def _open_all(files: Sequence[KeptFile]) -> None:
    for file in files:
        file.open()


def _fullest(pools: Mapping[Pool, int]) -> dict[str, int]:
    ranked = sorted(pools.items(), key=lambda item: item[1], reverse=True)
    return {str(pool): count for pool, count in ranked[:MOST_POOLS]}


class NamespaceReader:
    """Reads one namespace: the counters that matter most each time, the rest less often.

    Per-CPU tables, devices and listeners are read twice a second, ports in use at the pace that
    counting them allows; between two readings they are absent. Limits are read twice a second and
    repeated in between.
    """

    def __init__(
        self,
        namespace: int | None,
        *,
        targets: Sequence[Endpoint] = (),
        ports: bool = False,
        anywhere: bool = False,
        share: float = DEFAULT_SHARE,
        census: bool = False,
    ) -> None:
        """Open files and netlink sockets inside `namespace`, and take a first reading.

        Args:
            namespace: a descriptor from `loadgen.sampling.namespace`; None for one's own. It must stay open
                as long as the reader: `snapshot` and files that appear later need it.
            targets: addresses (not names) and ports of the servers. Ports in use are counted
                toward these only, and the listeners on these ports are watched; empty for all.
            ports: count the ephemeral ports in use; for whoever connects.
            anywhere: count them toward every destination, not only the targets: a proxy's
                backends are no target of ours.
            share: of one core, that counting ports may use at most, on average.
            census: also find out who holds the ports and since when.

        Raises:
            NamespaceError: when the namespace may not be entered.
            ValueError: when a target's host is a name, or `share` is not above 0 and at most 1.
        """
        self.absent: dict[str, str] = {}
        """Metrics that cannot be read here, each with the reason."""
        self._namespace = namespace
        self.listeners: tuple[Listener, ...] = ()
        """Those that are watched, as they were last listed."""
        self._target_ports = frozenset(port for _, port in targets)
        self._lists = ports or bool(targets)
        self._reopen_at = time.monotonic() + REOPEN_EVERY
        self._slow_due = float("-inf")
        self._settings: Values = {}
        self._no_lists = "sockets are not listed here"
        self._sources, self._range, self._diag = within(namespace, self._open)
        self._fast = [source for source in self._sources if source.tier is Tier.FAST]
        self._slow = [source for source in self._sources if source.tier is not Tier.FAST]
        self._ports: PortReader | None = None
        try:
            if ports:
                toward = () if anywhere else targets
                self._ports = PortReader(namespace, targets=toward, share=share, census=census)
            self.read(force=True)
        except BaseException:
            self.close()
            raise

    def _open(self) -> tuple[list[Source], PortRange, DiagSocket | None]:
        diag: DiagSocket | None = None
        try:
            diag = DiagSocket() if self._lists else None
        except OSError as error:
            self._no_lists = f"NETLINK_SOCK_DIAG: {error.strerror}"
        return sources(), PortRange(), diag

    @property
    def ports(self) -> PortReader | None:
        """The reader of the ports in use, None when they are not counted."""
        return self._ports

    def read(self, *, now: float | None = None, force: bool = False) -> Values:
        """Return one reading. A metric that cannot be read is not in it; `absent` tells why.

        Args:
            now: seconds of CLOCK_MONOTONIC, when the caller has just read it.
            force: leave nothing out for its cost: for the first and last reading of a run, and
                for a snapshot.
        """
        values: Values = {}
        moment = time.monotonic() if now is None else now
        if moment >= self._reopen_at:
            self._reopen(moment)
        for source in self._fast:
            values.update(self._read_source(source))
        if force or moment >= self._slow_due:
            self._slow_due = moment + SLOW_EVERY
            self._read_slow(values)
        values.update(self._settings)
        if self._ports is not None:
            self._read_ports(self._ports, values, moment, force=force)
        return values

    def _read_source(self, source: Source) -> Mapping[str, Number]:
        text = source.file.read()
        if text is None:
            self._lack(source, source.file.reason or "cannot be read")
            return {}
        try:
            found = source.parse(text)
        except parse.ParseError as error:
            self._lack(source, f"{source.file.path}: {error}")
            return {}
        if len(found) != source.found:
            self._note(source, found)
        return found

    def _read_slow(self, values: Values) -> None:
        settings: Values = {}
        for source in self._slow:
            kept = settings if source.tier is Tier.SETTING else values
            kept.update(self._read_source(source))
        self._read_range(settings)
        self._settings = settings
        if self._lists:
            self._read_listeners(values)

    def _reopen(self, now: float) -> None:
        missing = [source.file for source in self._sources if source.file.missing]
        self._reopen_at = now + REOPEN_EVERY if missing else float("inf")
        if missing:
            with suppress(NamespaceError):
                within(self._namespace, lambda: _open_all(missing))

    def _lack(self, source: Source, reason: str) -> None:
        source.found = 0
        if "conntrack" in source.file.path and source.file.missing:
            reason += " (the module nf_conntrack is not loaded, or not visible here)"
        for metric in source.metrics:
            self.absent[metric.name] = reason

    def _note(self, source: Source, found: Mapping[str, Number]) -> None:
        source.found = len(found)
        for metric in source.metrics:
            if metric.name in found:
                self.absent.pop(metric.name, None)
            else:
                since = f", which came with {metric.since}" if metric.since != "-" else ""
                self.absent[metric.name] = (
                    f"{source.file.path}: this kernel has no such field{since}"
                )

    def _read_range(self, settings: Values) -> None:
        found = self._range.read()
        if found is not None:
            settings["ephemeral_ports_limit"] = found[1]
            self.absent.pop("ephemeral_ports_limit", None)
        else:
            self.absent["ephemeral_ports_limit"] = self._range.reason or "cannot be read"

    def _read_ports(self, ports: PortReader, values: Values, now: float, *, force: bool) -> None:
        used = ports.read(now=now, force=force)
        if used is not None:
            values["ephemeral_ports_in_use"] = used.most
        if ports.reason is not None:
            self.absent["ephemeral_ports_in_use"] = ports.reason
        else:
            self.absent.pop("ephemeral_ports_in_use", None)

    def _read_listeners(self, values: Values) -> None:
        found = self._listeners()
        if isinstance(found, str):
            reason = found
        else:
            wanted = self._target_ports
            self.listeners = tuple(item for item in found if not wanted or item.port in wanted)
            if self.listeners:
                fullest = max(self.listeners, key=lambda item: item.queue / max(item.limit, 1))
                values["listen_queue"] = fullest.queue
                values["listen_queue_limit"] = fullest.limit
                for metric in LISTENER:
                    self.absent.pop(metric.name, None)
                return
            on_what = "on a target's port " if wanted else ""
            reason = f"no socket listens {on_what}in this namespace"
        for metric in LISTENER:
            self.absent[metric.name] = reason

    def _listeners(self) -> list[Listener] | str:
        """Return all listeners, or why they cannot be had."""
        if self._diag is None:
            return self._no_lists
        try:
            return self._diag.listeners()
        except (OSError, DiagError) as error:
            return f"NETLINK_SOCK_DIAG: {error}"

    def snapshot(self) -> NamespaceState:
        """Return the full state of the namespace, whatever it costs: tens of milliseconds.

        Raises:
            NamespaceError: when the namespace may not be entered any more.
        """
        values = self.read(now=time.monotonic(), force=True)
        counters: dict[str, int] = {}
        for source in self._sources:
            if source.file.path in {"/proc/net/snmp", "/proc/net/netstat"}:
                text = source.file.read()
                if text is not None:
                    with suppress(parse.ParseError):
                        counters.update(parse.paired(text))
        found = self._listeners()
        used = self._ports.last if self._ports is not None else None
        return NamespaceState(
            values=values,
            pools=_fullest(used.pools) if used else {},
            listeners=[]
            if isinstance(found, str)
            else [ListenQueue(item.address, item.port, item.queue, item.limit) for item in found],
            counters={name: value for name, value in counters.items() if value},
            sysctls=sysctls_in_force(self._namespace),
        )

    def close(self) -> None:
        """Close everything that was opened."""
        for source in self._sources:
            source.file.close()
        self._range.close()
        if self._diag is not None:
            self._diag.close()
            self._diag = None
        if self._ports is not None:
            self._ports.close()
