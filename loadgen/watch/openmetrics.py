"""The same readings for a Prometheus server: OpenMetrics over HTTP, with node_exporter's names.

A dashboard made for node_exporter finds its metrics here; what only this tool measures begins with
`churnlab_`. node_exporter gives the kernel's counters the type `untyped`, because they lack the
`_total` that OpenMetrics wants of a counter's name; its `unknown` type keeps their names the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from loadgen.metrics import CATALOGUE
from loadgen.summary import Number
from loadgen.watch.headroom import Gauge
from loadgen.watch.http import Answer, Server
from loadgen.watch.who import Who

_NODE_EXPORTER = ("netstat_", "nf_conntrack_stat_", "softnet_", "filefd_")
_NODE_EXPORTER_ALONE = {
    "sockstat_TCP_alloc",
    "sockstat_TCP_inuse",
    "sockstat_TCP_mem",
    "sockstat_TCP_orphan",
    "sockstat_TCP_tw",
    "nf_conntrack_entries",
    "nf_conntrack_entries_limit",
}
_SUFFIX = "_total"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"


def exported_name(name: str) -> str:
    """Return the name under which a metric of the catalogue is exported."""
    known = name.startswith(_NODE_EXPORTER) or name in _NODE_EXPORTER_ALONE
    return f"node_{name}" if known else f"churnlab_{name}"


def families(values: Mapping[str, Number], gauges: Iterable[Gauge]) -> list[Metric]:
    """Return what is exported of a reading; what could not be read is absent, never zero.

    Args:
        values: the reading, by the catalogue's names.
        gauges: of which those with labels, pools and listeners, are exported one by one.
    """
    found: list[Metric] = []
    labelled: dict[str, GaugeMetricFamily] = {}
    for gauge in gauges:
        if not gauge.labels:
            continue
        name, meaning = exported_name(gauge.name), CATALOGUE[gauge.name].meaning
        for suffix, value in (("", gauge.value), ("_limit", gauge.limit)):
            family = labelled.setdefault(
                name + suffix, GaugeMetricFamily(name + suffix, meaning, labels=list(gauge.labels))
            )
            family.add_metric(list(gauge.labels.values()), value)
    for name, value in values.items():
        exported = exported_name(name)
        metric = CATALOGUE.get(name)
        if metric is None or exported in labelled:
            continue
        if metric.kind == "gauge":
            found.append(GaugeMetricFamily(exported, metric.meaning, value))
        elif name.endswith(_SUFFIX) or exported.startswith("churnlab_"):
            stem = exported.removesuffix(_SUFFIX)
            found.append(CounterMetricFamily(stem, metric.meaning, value))
        else:
            found.append(UnknownMetricFamily(exported, metric.meaning, value))
    return [*found, *labelled.values()]


def who_families(who: Who | None) -> list[Metric]:
    """Return what is exported of who uses what: ten destinations, owners and groups at most.

    What will not happen at the present rate, and what cannot be told, is absent.
    """
    if who is None:
        return []
    place = ("source", "destination", "port")
    families: dict[str, GaugeMetricFamily] = {}

    def add(name: str, labels: tuple[str, ...], values: list[str], value: float | None) -> None:
        if value is None:
            return
        full = f"churnlab_{name}"
        family = families.get(full)
        if family is None:
            family = families[full] = GaugeMetricFamily(full, WHO[name], labels=labels)
        family.add_metric(values, value)

    for line in who.destinations:
        values = [line.source, line.destination, str(line.port)]
        for name, value in (
            ("destination_time_wait_sockets", line.time_wait),
            ("destination_live_sockets", line.live),
            ("destination_connections_per_second", line.rate),
            ("destination_lifetime_seconds", line.lifetime),
            ("destination_connect_cpu_seconds", line.connect),
            ("destination_slow_in_seconds", line.slow_in),
            ("destination_exhausted_in_seconds", line.exhausted_in),
        ):
            add(name, place, values, value)
    for entry in who.tracked:
        values = [entry.source, entry.destination, str(entry.port)]
        add("tracked_entries", place, values, entry.entries)
    # A process that was seen twice, such as one that was restarted, is one series.
    rates: dict[tuple[str, str, str], float] = {}
    for owner in who.owners:
        key = owner.process, owner.container, owner.unit
        rates[key] = rates.get(key, 0.0) + (owner.rate or 0.0)
    for key, rate in rates.items():
        labels = ("process", "container", "unit")
        add("owner_connections_per_second", labels, list(key), rate)
    return list(families.values())


WHO: Final = {
    "destination_time_wait_sockets": "sockets in TIME_WAIT of connections that this host opened",
    "destination_live_sockets": "sockets in any other state of connections that this host opened",
    "destination_connections_per_second": "connections closed first by this host",
    "destination_lifetime_seconds": "how long a connection lives, on average",
    "destination_connect_cpu_seconds": "processor time that one connect() takes now, by the model",
    "destination_slow_in_seconds": "time until connect() is slow at the present rate, 0 when it is",
    "destination_exhausted_in_seconds": "time until no port is left at the present rate",
    "tracked_entries": "entries of the connection-tracking table, by a sample",
    "owner_connections_per_second": "connections opened by a process, by its share of live sockets",
}
"""Metrics with the labels of who, under `churnlab_`, with their meanings."""


class _Latest(Collector):
    """Hands out the families of the latest reading."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is to collect is known only when it is read."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the latest families."""
        return self._collect()


class Exporter:
    """An HTTP endpoint, `/metrics`, that serves what it was last given.

    The text is made when it is asked for, once for each reading, so that nobody's scrapes cost more
    than one a reading.

    Args:
        host: address or name to listen on; empty for 127.0.0.1.
        port: 1 to 65535, or 0 for any free one.

    Raises:
        OSError: when the port cannot be had, or the name does not resolve.
        ValueError: when the name cannot be one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._lock = threading.Lock()
        self._reading: tuple[Mapping[str, Number], list[Gauge], Who | None] = {}, [], None
        self._made: dict[bool, bytes] = {}
        self._registry = CollectorRegistry()
        self._registry.register(_Latest(self._latest))
        self._server = Server(host or "127.0.0.1", port, "/metrics", self._answer)
        self.port = self._server.port

    def _latest(self) -> list[Metric]:
        values, gauges, who = self._reading
        return [*families(values, gauges), *who_families(who)]

    def _answer(self, accept: str) -> Answer:
        # Prometheus asks for OpenMetrics by name, with whatever version; there is one here.
        newer = "application/openmetrics-text" in accept
        with self._lock:
            text = self._made.get(newer)
            if text is None:
                make = openmetrics.generate_latest if newer else generate_latest
                text = self._made[newer] = make(self._registry)
        return (OPENMETRICS if newer else PLAIN), text

    def update(
        self, values: Mapping[str, Number], gauges: Iterable[Gauge], who: Who | None = None
    ) -> None:
        """Serve this reading from now on."""
        with self._lock:
            self._reading = values, list(gauges), who
            self._made.clear()

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
