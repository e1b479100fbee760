"""Metrics that programs keep: servers, the generator and its own sampler."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from loadgen.metrics.record import Kind, Metric

_Row: TypeAlias = tuple[str, Kind, str, str, str]
"""Name, kind, unit, first version and meaning."""
_MEMCACHED_ROWS: tuple[_Row, ...] = (
    ("curr_connections", "gauge", "1", "-", "open connections, the sampler's own included"),
    ("max_connections", "gauge", "1", "1.4.14", "the limit set with -c"),
    ("total_connections", "counter", "1", "-", "connections accepted"),
    ("rejected_connections", "counter", "1", "1.4.17", "refused at the connection limit"),
    (
        "listen_disabled_num",
        "counter",
        "1",
        "-",
        "times the listener was switched off at the limit",
    ),
    (
        "time_in_listen_disabled_us",
        "counter",
        "us",
        "?",
        "time that the listener was switched off",
    ),
    ("conn_yields", "counter", "1", "1.4.0", "times a connection gave way to others"),
    ("threads", "gauge", "1", "-", "worker threads (-t)"),
    ("rusage_user", "counter", "s", "-", "CPU time in user mode"),
    ("rusage_system", "counter", "s", "-", "CPU time in the kernel"),
    ("cmd_get", "counter", "1", "-", "get requests"),
    ("cmd_set", "counter", "1", "-", "set requests"),
    ("get_hits", "counter", "1", "-", "get requests that found their key"),
    ("get_misses", "counter", "1", "-", "get requests that did not"),
)
_REDIS_ROWS: tuple[_Row, ...] = (
    ("connected_clients", "gauge", "1", "-", "open connections, the sampler's own included"),
    ("maxclients", "gauge", "1", "?", "the limit (maxclients)"),
    ("total_connections_received", "counter", "1", "-", "connections accepted"),
    ("rejected_connections", "counter", "1", "-", "refused at the connection limit"),
    ("blocked_clients", "gauge", "1", "-", "connections that wait in a blocking command"),
    ("total_commands_processed", "counter", "1", "-", "commands"),
    ("keyspace_hits", "counter", "1", "-", "look-ups that found their key"),
    ("keyspace_misses", "counter", "1", "-", "look-ups that did not"),
    ("used_cpu_user", "counter", "s", "-", "CPU time in user mode"),
    ("used_cpu_sys", "counter", "s", "-", "CPU time in the kernel"),
)
_NGINX_ROWS: tuple[_Row, ...] = (
    ("active", "gauge", "1", "-", "open connections, the sampler's own included"),
    ("accepts", "counter", "1", "-", "connections accepted"),
    ("handled", "counter", "1", "-", "accepted connections that were served"),
    ("requests", "counter", "1", "-", "requests"),
    ("dropped", "counter", "1", "-", "accepted and closed again: worker_connections was reached"),
    ("reading", "gauge", "1", "-", "connections whose request is being read"),
    ("writing", "gauge", "1", "-", "connections that are being answered"),
    ("waiting", "gauge", "1", "-", "idle connections that are kept alive"),
)


def _server(
    name: str, command: str, rows: tuple[_Row, ...], limits: dict[str, str]
) -> tuple[Metric, ...]:
    """Return the metrics that servers of one kind keep, and how many answered.

    Args:
        name: the program, as people write it.
        command: what asks it for them.
        rows: the metrics.
        limits: of those that count connections, the one that bounds them.
    """
    program = name.lower()
    source = f"{program} {command}"
    return (
        *(
            Metric(
                f"{program}_{field}",
                kind,
                unit,
                source,
                since,
                meaning,
                scope="server",
                limit=f"{program}_{limits[field]}" if field in limits else "",
                title=f"{name} connections" if field in limits else "",
            )
            for field, kind, unit, since, meaning in rows
        ),
        Metric(
            f"{program}_up",
            "gauge",
            "1",
            source,
            "-",
            f"targets that answered `{command}`; the other {program} metrics are sums and absent "
            "unless all did",
            scope="server",
            limit=f"{program}_targets",
        ),
        Metric(
            f"{program}_targets",
            "gauge",
            "1",
            "the run's configuration",
            "-",
            "targets that were asked",
            scope="server",
        ),
    )


MEMCACHED = _server("memcached", "stats", _MEMCACHED_ROWS, {"curr_connections": "max_connections"})
REDIS = _server("Redis", "INFO", _REDIS_ROWS, {"connected_clients": "maxclients"})
NGINX = _server("nginx", "stub_status", _NGINX_ROWS, {})


class ServerLimit(NamedTuple):
    """Which metrics tell of a server's limit of connections."""

    program: str
    """As people write it."""
    prefix: str
    """Of its metrics."""
    rejected: str
    held: str
    limit: str
    """Empty where the server does not say."""
    setting: str
    """What raises the limit."""
    besides: str = ""
    """What else counts against it, for the end of a sentence."""


SERVER_LIMITS = (
    ServerLimit(
        "memcached",
        "memcached",
        rejected="memcached_rejected_connections",
        held="memcached_curr_connections",
        limit="memcached_max_connections",
        setting="-c",
        besides="; its own descriptors count against it",
    ),
    ServerLimit(
        "Redis",
        "redis",
        rejected="redis_rejected_connections",
        held="redis_connected_clients",
        limit="redis_maxclients",
        setting="maxclients",
    ),
    ServerLimit(
        "nginx",
        "nginx",
        rejected="nginx_dropped",
        held="nginx_active",
        limit="",
        setting="worker_connections",
    ),
)

_GENERATOR_ROWS: tuple[tuple[str, Kind, str, str], ...] = (
    ("scheduled", "counter", "1", "arrivals due so far"),
    ("started", "counter", "1", "attempts made"),
    ("ok", "counter", "1", "attempts that ended ok"),
    ("failed", "counter", "1", "attempts that failed"),
    ("dropped", "counter", "1", "arrivals given up because they were overdue"),
    ("in_flight", "gauge", "1", "attempts under way"),
    ("connect_calls", "counter", "1", "connect() calls made"),
    ("connect_call_seconds", "counter", "s", "wall time spent inside connect()"),
    ("cpu_user_seconds", "counter", "s", "CPU time in user mode"),
    ("cpu_system_seconds", "counter", "s", "CPU time in the kernel"),
    ("busiest_worker_seconds", "counter", "s", "CPU time of the worker that used most"),
    ("tls_handshakes", "counter", "1", "TLS handshakes finished"),
    ("tls_resumed", "counter", "1", "of these, how many resumed an earlier session"),
    ("tls_cpu_seconds", "counter", "s", "CPU time of the workers that TLS handshakes took"),
    ("outcome_*", "counter", "1", "attempts by outcome, one metric for each that occurred"),
)
GENERATOR = tuple(
    Metric(f"generator_{field}", kind, unit, "the worker processes", "-", meaning, scope="run")
    for field, kind, unit, meaning in _GENERATOR_ROWS
)

SAMPLER = tuple(
    Metric(f"sampler_{field}", "counter", unit, "the sampler itself", "-", meaning, scope="run")
    for field, unit, meaning in (
        ("cpu_seconds", "s", "CPU time that taking the samples cost"),
        ("rounds", "1", "rounds of samples taken"),
        ("overruns", "1", "rounds that took longer than the sampling interval"),
    )
)
