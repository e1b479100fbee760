"""What kept a run from going faster: the generator's CPU, the machine's, the servers, or nothing. Pure.

The closed loop always runs into something, and its rate says nothing without knowing into what. A
worker is one thread: when it uses its core up, that core is the limit, and most of what it does
there is the kernel's own work for the connections. When the core is not used up, the worker waited:
for a CPU, where all of the machine's are busy, or else for replies. The search for a local port uses
a core up as well, but another core does not help: it searches the same ports.
"""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.accounting.messages import Totals
from loadgen.diagnosis.honesty import SATURATED_CPU, Attribution, Interval, machine_use
from loadgen.sample import Sample

_THROTTLED = 0.1
"""Of the run, from which on the port search was what kept it from going faster."""
_MACHINE_FULL = 0.95
"""Of all CPUs together; the rest is the idle moments between two programs' turns."""


def describe(
    series: Sequence[Interval],
    totals: Totals,
    attribution: Attribution,
    machine: Sequence[Sample],
    *,
    closed_loop: bool,
) -> str:
    """Return the limit in one sentence without a full stop; empty when nothing was measured.

    Args:
        series: the changes between the generator's samples.
        totals: the run's.
        attribution: whose doing dropped arrivals were.
        machine: samples with the CPU times of the generator's machine, if there are any.
        closed_loop: whether attempts were made as fast as possible, and not on a schedule.
    """
    length = series[-1].end - series[0].start if series else 0.0
    if length <= 0 or not totals.started:
        return ""
    if not closed_loop:
        return _of_schedule(totals, attribution)
    if attribution.throttled >= _THROTTLED * length and attribution.slow_since is not None:
        return _of_search(series, attribution)
    busy = sum(i.busiest * i.length for i in series) / length
    used = machine_use(machine)
    full = used is not None and used.busy >= _MACHINE_FULL
    if busy >= SATURATED_CPU:
        spent = totals.cpu_user + totals.cpu_system
        kernel = totals.cpu_system / spent if spent else 0.0
        more = (
            "all CPUs of this machine are busy, so more --workers would only take from the others"
            if full
            else "more --workers go further"
        )
        return (
            f"a worker's core: {busy:.0%} of it was used, {kernel:.0%} of that inside the kernel; "
            f"{more}"
        )
    if full:
        return (
            f"this machine: all its CPUs were busy, and the busiest worker got {busy:.0%} of a core"
        )
    return (
        f"the servers, the network or --concurrency: the busiest worker used {busy:.0%} of a core "
        "and waited for replies"
    )


def _of_search(series: Sequence[Interval], attribution: Attribution) -> str:
    """The search fills a worker's core, and yet the core is not the limit: more of them search too."""
    since, end = attribution.slow_since or 0.0, series[-1].end

    def pace(first: float, last: float) -> str:
        started = sum(i.started for i in series if first <= i.start and i.end <= last)
        return f"{started / (last - first):,.0f}/s"

    before = f", {pace(0.0, since)} before" if since > 0 else ""
    return (
        f"the kernel's search for a free local port: {pace(since, end)} from {since:.1f} s on{before}; "
        "more --workers search the same ports, tcp_tw_reuse = 1 or a wider ip_local_port_range "
        "goes further"
    )


def _of_schedule(totals: Totals, attribution: Attribution) -> str:
    if not totals.dropped:
        return "none: every arrival was started"
    drops = {
        "the kernel's search for a local port": attribution.port_search,
        "replies that did not come: as many attempts as allowed were under way": (
            attribution.in_flight
        ),
        "the generator or this machine's CPUs": attribution.generator,
    }
    greatest = max(drops, key=drops.__getitem__)
    return f"{greatest} ({drops[greatest]:,} of {totals.dropped:,} dropped arrivals)"
