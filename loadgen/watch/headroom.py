"""How near each limit is, how fast it comes nearer, and when it is reached at this rate. Pure.

A gauge with a limit fails its users when it gets there, and most of these fail without a counter
that moves: connect() without a free port leaves no trace in /proc at all. So what warns is the
distance, and the time that is left of it: (limit - value) / growth, with the growth taken over the
last `WINDOW` seconds. Sockets in TIME_WAIT come and go in bursts; over a shorter time the growth of
their number says little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from loadgen.metrics import CATALOGUE
from loadgen.sampling.sock_diag import Listener, Pool
from loadgen.search import takes_again
from loadgen.summary import Number
from loadgen.target import endpoint, is_loopback

WINDOW = 10.0
"""Seconds over which growth is taken."""
LATEST = 600.0
"""Seconds beyond which a forecast from `WINDOW` seconds means nothing."""
POOLS = 8
"""The fullest pools and listeners that are shown; a busy proxy has thousands."""

_APART = {"ephemeral_ports_in_use", "listen_queue"}
"""Each pool and each listener has a gauge of its own."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a namespace: its metrics, its pools of ports, its listeners."""

    t: float
    """Seconds of any steady clock."""
    values: Mapping[str, Number]
    pools: Mapping[Pool, int] | None = None
    """Ports in use of each; None when they were not counted this time."""
    listeners: Sequence[Listener] | None = None
    """None when they were not listed this time."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """One thing that runs into a limit."""

    name: str
    """The metric's name."""
    title: str
    value: Number
    limit: Number
    labels: Mapping[str, str] = field(default_factory=dict)
    growth: float | None = None
    """A second, over the last `WINDOW` seconds; None while there is only one reading."""

    @property
    def share(self) -> float:
        """The part of the limit that is used: 0, and 1 or more when it is reached."""
        return self.value / self.limit if self.limit else 1.0

    @property
    def full_in(self) -> float | None:
        """Seconds until the limit is reached at this rate.

        0 when it is reached; None when it does not come nearer, or not within `LATEST`.
        """
        if self.value >= self.limit:
            return 0.0
        if self.growth is None or self.growth <= 0:
            return None
        left = (self.limit - self.value) / self.growth
        return left if left <= LATEST else None


class History:
    """The readings of the last `WINDOW` seconds, gauge by gauge and counter by counter."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._series: dict[object, deque[tuple[float, Number]]] = {}
        self._pools: Mapping[Pool, int] | None = None
        """None until sockets were counted, which not everyone may."""
        self._listeners: Sequence[Listener] = ()

    def add(self, reading: Reading) -> None:
        """Take in one reading; they come in the order of time."""
        entries: list[tuple[object, Number]] = [*reading.values.items()]
        if reading.pools is not None:
            self._pools = reading.pools
            entries += reading.pools.items()
        if reading.listeners is not None:
            self._listeners = reading.listeners
            entries += [((item.address, item.port), item.queue) for item in reading.listeners]
        for key, value in entries:
            series = self._series.setdefault(key, deque())
            series.append((reading.t, value))
        oldest = reading.t - self._window
        for key in list(self._series):
            series = self._series[key]
            while len(series) > 1 and series[0][0] < oldest:
                series.popleft()
            # What has gone, such as the pool of a server that nobody talks to any more.
            if series[-1][0] < oldest:
                del self._series[key]

    def growth(self, key: object) -> float | None:
        """Return the change a second of a metric, pool or listener; None with one reading only."""
        series = self._series.get(key)
        if not series or series[-1][0] <= series[0][0]:
            return None
        (start, first), (end, last) = series[0], series[-1]
        return (last - first) / (end - start)

    def latest(self, name: str) -> Number | None:
        """Return a metric's last value, though it be a few readings old."""
        series = self._series.get(name)
        return series[-1][1] if series else None

    def gauges(self) -> list[Gauge]:
        """Return everything that has a limit, the nearest to it first."""
        found = [*self._of_metrics(), *self._of_pools(), *self._of_listeners()]
        return sorted(found, key=lambda gauge: gauge.share, reverse=True)

    def _of_metrics(self) -> Iterable[Gauge]:
        for metric in CATALOGUE.values():
            value, limit = self.latest(metric.name), self.latest(metric.limit)
            if metric.title and metric.name not in _APART and value is not None and limit:
                growth = self.growth(metric.name)
                yield Gauge(metric.name, metric.title, value, limit, growth=growth)

    def _of_pools(self) -> Iterable[Gauge]:
        limit = self.latest("ephemeral_ports_limit")
        if not limit or self._pools is None:
            return
        if not self._pools:
            yield Gauge("ephemeral_ports_in_use", "ports, toward any one server", 0, limit)
        fullest = sorted(self._pools.items(), key=lambda item: item[1], reverse=True)
        for pool, used in fullest[:POOLS]:
            yield Gauge(
                "ephemeral_ports_in_use",
                f"ports toward {endpoint(pool.destination, pool.port)} from {pool.source}",
                used,
                limit,
                {
                    "source": pool.source,
                    "destination": pool.destination,
                    "port": str(pool.port),
                },
                self.growth(pool),
            )

    def _of_listeners(self) -> Iterable[Gauge]:
        fullest = sorted(self._listeners, key=lambda item: item.queue, reverse=True)
        for item in fullest[:POOLS]:
            yield Gauge(
                "listen_queue",
                f"accept queue of {endpoint(item.address, item.port)}",
                item.queue,
                item.limit,
                {"address": item.address, "port": str(item.port)},
                self.growth((item.address, item.port)),
            )


def advice(gauge: Gauge, sysctls: Mapping[str, str]) -> str:
    """Return what is to be known about a gauge as it stands; empty when there is nothing.

    Args:
        gauge: any.
        sysctls: in force in the namespace, by dotted key.
    """
    if gauge.name != "ephemeral_ports_in_use":
        return "reached" if gauge.share >= 1 else ""
    reuse = sysctls.get("net.ipv4.tcp_tw_reuse", "0")
    if takes_again(
        int(reuse) if reuse.isdecimal() else 0,
        timestamps=sysctls.get("net.ipv4.tcp_timestamps") != "0",
        loopback="destination" in gauge.labels and is_loopback(gauge.labels["destination"]),
    ):
        delay = sysctls.get("net.ipv4.tcp_tw_reuse_delay", "1000")
        return f"TIME_WAIT ports are taken again after {delay} ms" if gauge.share >= 0.4 else ""
    if gauge.share >= 1:
        return "reached: connect() fails with EADDRNOTAVAIL"
    # connect() takes the ports of one parity first (Linux 4.2, commit 07f4c90062f8).
    return "past the half: connect() searches slowly" if gauge.share >= 0.5 else ""
