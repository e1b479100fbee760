"""The same readings for a Prometheus server: OpenMetrics over HTTP, with node_exporter's names.

A dashboard made for node_exporter finds its metrics here; what only this tool measures begins with
`churnlab_`. node_exporter gives the kernel's counters the type `untyped`, because they lack the
`_total` that OpenMetrics wants of a counter's name; its `unknown` type keeps their names the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from loadgen.metrics import CATALOGUE
from loadgen.summary import Number
from loadgen.watch.headroom import Gauge

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


class _Server(Protocol):
    def shutdown(self) -> None: ...

    def server_close(self) -> None: ...


class Exporter:
    """An HTTP endpoint, `/metrics`, that serves what it was last given.

    Args:
        host: address to listen on; empty for all.
        port: 1 to 65535, or 0 for any free one.

    Raises:
        OSError: when the port cannot be had.
    """

    def __init__(self, host: str, port: int) -> None:
        self._lock = threading.Lock()
        self._families: list[Metric] = []
        registry = CollectorRegistry()
        registry.register(_Latest(self._latest))
        made = start_http_server(port, addr=host or "0.0.0.0", registry=registry)  # noqa: S104 - asked for
        self._server: _Server = made[0]
        self._thread: threading.Thread = made[1]
        self.port: int = made[0].server_port

    def _latest(self) -> list[Metric]:
        with self._lock:
            return self._families

    def update(self, values: Mapping[str, Number], gauges: Iterable[Gauge]) -> None:
        """Serve this reading from now on."""
        made = families(values, gauges)
        with self._lock:
            self._families = made

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
