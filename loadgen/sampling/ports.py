"""Ephemeral ports: how many there are, how many are in use, and by whom.

connect() takes a local port from ip_local_port_range, less ip_local_reserved_ports, that no other
connection between the same two addresses and the same remote port holds; one in TIME_WAIT holds
its port too (ip(7), Documentation/networking/ip-sysctl.rst). So what fills up is not the machine
but a `Pool`, and only a list of sockets tells how full: no counter in /proc does. Nor does any
counter move when connect() finds no port.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from loadgen.sampling import parse
from loadgen.sampling.census import Census, LiveSocket, look, take_census
from loadgen.sampling.files import KeptFile, within
from loadgen.sampling.pace import Backoff, Pace
from loadgen.sampling.sock_diag import DiagError, DiagSocket, Endpoint, Pool
from loadgen.search import free_ports

_LOOK_SHARE = 0.001
"""Of one core, for looks at live sockets between two counts of all."""
DEFAULT_SHARE = 0.002
"""Of one core, for counting sockets: a fifth of what sampling as a whole may cost."""


class PortRange:
    """ip_local_port_range and ip_local_reserved_ports of one namespace, read again each time."""

    def __init__(self) -> None:
        """Open the files in the calling thread's namespace."""
        self._range = KeptFile("/proc/sys/net/ipv4/ip_local_port_range")
        self._reserved = KeptFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
        self._texts: tuple[bytes | None, bytes | None] = (None, None)
        self._bounds: tuple[int, int] | None = None
        self._available: int | None = None
        self.reason: str | None = None
        """Why the range is not known; None while it is."""

    def read(self) -> tuple[tuple[int, int], int] | None:
        """Return the bounds, both included, and how many ports between them are not reserved.

        None when they cannot be read, see `reason`.
        """
        texts = self._range.read(), self._reserved.read()
        if texts != self._texts or self._bounds is None:
            self._texts = texts
            self._bounds = self._available = None
            if texts[0] is None or texts[1] is None:
                self.reason = self._range.reason or self._reserved.reason
                return None
            try:
                self._bounds = parse.port_range(texts[0])
                reserved = parse.port_list(texts[1])
            except parse.ParseError as error:
                self._bounds = None
                self.reason = str(error)
                return None
            self._available = free_ports(*self._bounds, reserved)
            self.reason = None
        assert self._available is not None
        return self._bounds, self._available

    def close(self) -> None:
        """Close the files."""
        self._range.close()
        self._reserved.close()


@dataclass(frozen=True, slots=True)
class PortsInUse:
    """One count of the ports in use."""

    pools: dict[Pool, int] = field(default_factory=dict)
    """Ports in use of each pool that has any."""
    census: Census | None = None
    """By whom and since when, when that was asked for; `pools` has the fullest only then."""

    @property
    def most(self) -> int:
        """Ports in use of the fullest pool; 0 when there is none."""
        return max(self.pools.values(), default=0)

    def fullest(self) -> Pool | None:
        """Return the pool with the most ports in use."""
        return max(self.pools, key=self.pools.__getitem__, default=None)


class PortReader:
    """Counts the ports in use of one namespace, at the pace that its cost allows."""

    def __init__(
        self,
        namespace: int | None = None,
        *,
        targets: Sequence[Endpoint] = (),
        share: float = DEFAULT_SHARE,
        census: bool = False,
    ) -> None:
        """Open what is needed inside `namespace`.

        Args:
            namespace: a descriptor of it; None for one's own. Not kept.
            targets: addresses (not names) and ports of the servers; empty for all there are.
            share: of one core, that counting may use at most, on average.
            census: also find out who holds the ports and since when.

        Raises:
            NamespaceError: when the namespace may not be entered.
            ValueError: when a target's host is a name, or the share is not above 0 and at most 1.
        """
        self.pace = Pace(share)
        self._looks = Pace(_LOOK_SHARE)
        self._backoff = Backoff()
        self.last: PortsInUse | None = None
        """The last count, whenever it was taken."""
        self.reason: str | None = None
        """Why ports cannot be counted; None while they can."""
        self._targets = tuple(targets)
        self._census = census
        self._closing = ExitStack()
        self.range, self._socket = within(namespace, self._open)

    def _open(self) -> tuple[PortRange, DiagSocket | None]:
        ports = PortRange()
        self._closing.callback(ports.close)
        try:
            found = DiagSocket()
        except OSError as error:
            self.reason = f"NETLINK_SOCK_DIAG: {error.strerror}"
            return ports, None
        self._closing.callback(found.close)
        return ports, found

    def read(self, *, now: float | None = None, force: bool = False) -> PortsInUse | None:
        """Return a fresh count, or None when it is not due yet or cannot be had (see `reason`).

        Args:
            now: seconds of CLOCK_MONOTONIC, when the caller has just read it.
            force: count even when it is not due, as a snapshot does.
        """
        if self._socket is None:
            return None
        moment = time.monotonic() if now is None else now
        if not force and not (self.pace.due(moment) and self._backoff.due(moment)):
            return None
        bounds = self.range.read()
        if bounds is None:
            self.reason = self.range.reason
            return None
        before = time.thread_time()
        try:
            found = self._count(self._socket, bounds[0])
        except (OSError, DiagError) as error:
            self.reason = f"NETLINK_SOCK_DIAG: {error}"
            self._backoff.failed(moment)
            return None
        self.pace.paid(moment, time.thread_time() - before)
        self._backoff.succeeded()
        self.reason = None
        self.last = found
        return self.last

    def look(self, now: float) -> Sequence[LiveSocket] | None:
        """Return the live sockets only, or None when that is not due or cannot be had.

        Args:
            now: seconds of CLOCK_MONOTONIC.
        """
        bounds = self.range.read()
        if self._socket is None or bounds is None or not self._looks.due(now):
            return None
        before = time.thread_time()
        try:
            found = look(self._socket, bounds[0], self._targets)
        except (OSError, DiagError):
            return None  # the next count says why
        self._looks.paid(now, time.thread_time() - before)
        return found

    def _count(self, diag: DiagSocket, bounds: tuple[int, int]) -> PortsInUse:
        if not self._census:
            return PortsInUse(diag.count_pools(bounds, self._targets))
        found = take_census(diag, bounds, self._targets)
        return PortsInUse({pool: held.all for pool, held in found.pools.items()}, found)

    def close(self) -> None:
        """Close everything."""
        self._closing.close()
        self._socket = None
