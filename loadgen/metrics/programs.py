"""Metrics that programs keep: memcached, the generator and its own sampler."""

from __future__ import annotations

from loadgen.metrics.record import Kind, Metric

_MEMCACHED_ROWS: tuple[tuple[str, Kind, str, str, str], ...] = (
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
MEMCACHED = (
    *(
        Metric(
            f"memcached_{field}",
            kind,
            unit,
            "memcached stats",
            since,
            meaning,
            scope="server",
            limit="memcached_max_connections" if field == "curr_connections" else "",
        )
        for field, kind, unit, since, meaning in _MEMCACHED_ROWS
    ),
    Metric(
        "memcached_up",
        "gauge",
        "1",
        "memcached stats",
        "-",
        "targets that answered `stats`; the other memcached metrics are sums and absent unless "
        "all did",
        scope="server",
        limit="memcached_targets",
    ),
    Metric(
        "memcached_targets",
        "gauge",
        "1",
        "the run's configuration",
        "-",
        "targets that were asked",
        scope="server",
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
