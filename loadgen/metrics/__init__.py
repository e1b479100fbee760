"""The catalogue of metrics: the one home of their names, units, sources and meanings.

Names are node_exporter's without its `node_` prefix where node_exporter has the metric, so that a
reader finds the same name on a production dashboard; the process metrics are those of Prometheus'
client libraries. What only this tool measures is named in the same manner: `generator_*`,
`ephemeral_ports_*`, `memcached_*`, `redis_*`, `nginx_*`. Labels there are part of the name here.

A counter only ever grows while the namespace lives, so its change over an interval is what counts;
a gauge is what it is at the moment of the sample.
"""

from __future__ import annotations

from loadgen.metrics.kernel import (
    CONNTRACK,
    DEVICES,
    LISTENER,
    NAT,
    NETSTAT,
    PORTS,
    ROUTES,
    SNMP,
    SOCKSTAT,
)
from loadgen.metrics.machine import MACHINE, PROCESS
from loadgen.metrics.programs import (
    GENERATOR,
    MEMCACHED,
    NGINX,
    REDIS,
    SAMPLER,
    SERVER_LIMITS,
    ServerLimit,
)
from loadgen.metrics.record import Kind, Metric, Scope

__all__ = [
    "CATALOGUE",
    "CONNTRACK",
    "DEVICES",
    "GENERATOR",
    "GROUPS",
    "LISTENER",
    "MACHINE",
    "MEMCACHED",
    "NAT",
    "NETSTAT",
    "NGINX",
    "PORTS",
    "PROCESS",
    "REDIS",
    "ROUTES",
    "SAMPLER",
    "SERVER_LIMITS",
    "SNMP",
    "SOCKSTAT",
    "Kind",
    "Metric",
    "Scope",
    "ServerLimit",
    "find",
]

GROUPS: dict[str, tuple[Metric, ...]] = {
    "Sockets": SOCKSTAT,
    "TCP and IP (RFC 1213, RFC 4022)": SNMP,
    "TCP, Linux's own": NETSTAT,
    "Connection tracking": CONNTRACK,
    "Ephemeral ports": PORTS,
    "Listeners": LISTENER,
    "NAT": NAT,
    "Routes": ROUTES,
    "Devices": DEVICES,
    "The machine": MACHINE,
    "Processes": PROCESS,
    "memcached": MEMCACHED,
    "Redis": REDIS,
    "nginx": NGINX,
    "The generator": GENERATOR,
    "The sampler": SAMPLER,
}
"""The whole catalogue, by subject."""

CATALOGUE: dict[str, Metric] = {
    metric.name: metric for group in GROUPS.values() for metric in group
}


def find(name: str) -> Metric | None:
    """Return the catalogue's entry for `name`, families such as `generator_outcome_*` included."""
    found = CATALOGUE.get(name)
    if found is None:
        for pattern, metric in CATALOGUE.items():
            if pattern.endswith("*") and name.startswith(pattern[:-1]):
                return metric
    return found
