"""Metrics that the kernel keeps of the machine as a whole, and of processes."""

from __future__ import annotations

from loadgen.metrics.record import Kind, Metric, Scope


def _machine(
    source: str, rows: tuple[tuple[str, Kind, str, str, str], ...], scope: Scope = "machine"
) -> tuple[Metric, ...]:
    return tuple(
        Metric(name, kind, unit, source, since, meaning, scope=scope)
        for name, kind, unit, since, meaning in rows
    )


MACHINE = (
    *_machine(
        "/proc/stat",
        (
            ("cpu_count", "gauge", "1", "-", "CPUs on line"),
            ("cpu_user_seconds", "counter", "s", "-", "CPU time of programs, nice included"),
            ("cpu_system_seconds", "counter", "s", "-", "CPU time in system calls"),
            ("cpu_softirq_seconds", "counter", "s", "-", "CPU time in softirqs: packets received"),
            ("cpu_irq_seconds", "counter", "s", "-", "CPU time in hardware interrupts"),
            ("cpu_steal_seconds", "counter", "s", "-", "CPU time that the hypervisor gave others"),
            ("cpu_idle_seconds", "counter", "s", "-", "CPU time idle, waiting for disks included"),
            (
                "cpu_busiest_share",
                "gauge",
                "ratio",
                "-",
                "share of the last second or more that the busiest CPU was not idle",
            ),
            (
                "cpu_busiest_softirq_share",
                "gauge",
                "ratio",
                "-",
                "the same of the CPU that spent most in softirqs: near 1, one CPU takes in all "
                "packets",
            ),
        ),
    ),
    *_machine(
        "/proc/net/softnet_stat",
        (
            ("softnet_processed_total", "counter", "1", "-", "packets taken in, all CPUs"),
            (
                "softnet_dropped_total",
                "counter",
                "1",
                "-",
                "packets dropped because a CPU's backlog was full (netdev_max_backlog)",
            ),
            (
                "softnet_times_squeezed_total",
                "counter",
                "1",
                "-",
                "times a CPU stopped with packets left (netdev_budget)",
            ),
        ),
    ),
    Metric(
        "filefd_allocated",
        "gauge",
        "1",
        "/proc/sys/fs/file-nr",
        "-",
        "open files of the whole machine",
        scope="machine",
        limit="filefd_maximum",
        title="open files, whole machine",
    ),
    Metric(
        "filefd_maximum",
        "gauge",
        "1",
        "/proc/sys/fs/file-nr",
        "-",
        "open files beyond which open() and socket() fail with ENFILE (fs.file-max)",
        scope="machine",
    ),
)

PROCESS = (
    *_machine(
        "/proc/PID/stat",
        (("process_cpu_seconds_total", "counter", "s", "-", "CPU time of the watched processes"),),
        scope="process",
    ),
    *_machine(
        "/proc/PID/schedstat",
        (
            (
                "process_runqueue_wait_seconds_total",
                "counter",
                "s",
                "-",
                "time that their main threads were ready but waited for a CPU",
            ),
        ),
        scope="process",
    ),
    Metric(
        "process_open_fds",
        "gauge",
        "1",
        "/proc/PID/fd",
        "-",
        "open files of the process that is nearest to its limit",
        scope="process",
        limit="process_max_fds",
        title="open files of the process",
    ),
    Metric(
        "process_max_fds",
        "gauge",
        "1",
        "/proc/PID/limits",
        "-",
        "that process's limit (RLIMIT_NOFILE): beyond it socket() and accept() fail with EMFILE",
        scope="process",
    ),
)
