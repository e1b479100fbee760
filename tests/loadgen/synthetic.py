"""Writes run directories of runs that never happened, to try the reports on.

The figures are made up: they have the shape of the port-search collapse and of a clean run, and
the random numbers come from a seed. They show whether a report is laid out well; they say nothing
about any kernel and must never be published as a result.
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from loadgen.accounting.latency import IntervalHistogram, bucket, by_tag, describe
from loadgen.config import RunConfig
from loadgen.diagnosis.series import by_metric
from loadgen.run.conclude import About, Ended
from loadgen.run.rundir import RunDirectory
from loadgen.sample import Sample
from loadgen.sampling.snapshots import Kept, State
from loadgen.summary import (
    Cause,
    Environment,
    Evidence,
    Explanation,
    Generator,
    Notice,
    Rate,
    SnapshotNote,
    Summary,
    ThresholdResult,
    Validity,
    Verdict,
)

PORTS = 28_232
KNEE = PORTS // 2
CONNTRACK_MAX = 262_144
BASELINE = {
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.ipv4.tcp_fin_timeout": "60",
    "net.ipv4.tcp_timestamps": "1",
    "net.core.somaxconn": "4096",
}
HOSTILE = "</script><script>window.broken = true</script><img src=x onerror=alert(1)>"
"""Put wherever a user's text reaches the page."""


class Plan(msgspec.Struct, frozen=True):
    """What the made-up run is like."""

    rate: float = 20_000.0
    duration: float = 5.0
    interval: float = 0.1
    collapse: bool = True
    """The rate falls once half the ports are taken."""
    validity: Validity = "valid"
    threshold: bool = False
    unread: bool = False
    """conntrack could not be read."""
    cut: float | None = None
    """Seconds after which the run was killed: no summary."""
    fault: str = ""
    """Done on purpose at 2 s of every trial."""


def environment() -> Environment:
    return Environment(
        host=f"synthetic {HOSTILE}",
        kernel="6.18.44",
        architecture="x86_64",
        cpus=2,
        memory_kib=24_000_000,
        python="3.11.2",
        churnlab="0.1.0",
    )


def _latency_interval(
    tag: str, second: int, centre: float, number: int, dice: random.Random
) -> IntervalHistogram:
    counts: dict[int, int] = {}
    sampled = min(number, 400)
    for index in range(sampled):
        value = dice.lognormvariate(0, 0.35) * centre
        if dice.random() < 0.01:
            value *= dice.uniform(2, 9)
        place = bucket(int(value * 1e6))
        counts[place] = counts.get(place, 0) + number // sampled + (index < number % sampled)
    return IntervalHistogram(tag, float(second), 1.0, counts)


def write_run(path: Path, plan: Plan, seed: int) -> Summary:
    """Write one run directory and return its summary."""
    dice = random.Random(seed)
    directory = RunDirectory(path)
    about = About(
        version="0.1.0",
        config=RunConfig(
            targets=["198.18.0.2:11211"],
            addresses=[("198.18.0.2", 11211)],
            rate=plan.rate,
            duration=plan.duration,
            max_in_flight=1000,
        ),
        environment=environment(),
        started_at="2026-11-20T10:00:00+00:00",
        sysctls={"client": BASELINE},
        absent={"server": {"nf_conntrack_entries": "nf_conntrack is not loaded"}}
        if plan.unread
        else {},
        ended=None if plan.cut is not None else Ended(elapsed=plan.duration),
    )
    directory.write_run(about)
    samples: list[Sample] = []
    intervals: list[IntervalHistogram] = []
    scheduled = ok = failed = dropped = 0.0
    calls = call_seconds = user = system = 0.0
    recycled = 0.0
    first_failure: float | None = None
    started_before: int | None = None
    knee = KNEE * dice.uniform(0.99, 1.01)
    end = plan.duration if plan.cut is None else plan.cut
    second_ok, second = 0.0, 0
    for step in range(round(end / plan.interval) + 1):
        t = step * plan.interval
        collapsed = plan.collapse and ok >= knee
        if step:
            due = plan.rate * plan.interval
            scheduled += due
            if collapsed:
                made = min(640 * plan.interval * dice.uniform(0.8, 1.2), PORTS - ok)
                made = max(0.0, made)
                refused = 0.0 if ok < PORTS - 1 else 300 * plan.interval
                if first_failure is None:
                    first_failure, started_before = t, int(ok + failed)
                failed += refused
                dropped += due - made - refused
                ok += made
                calls += made + refused
                call_seconds += plan.interval * 0.96
            else:
                ok += due
                calls += due
                call_seconds += due * 9e-6 * dice.uniform(0.9, 1.2)
                recycled += due if ok > KNEE else 0
            user += plan.interval * 0.3
            system += plan.interval * 0.5
        if t - second >= 1 - 1e-9:
            number = int(ok - second_ok)
            for tag, scale in (("connect", 1.0), ("first_byte", 2.2), ("total", 2.4)):
                centre = (2.1e-3 if collapsed else 1.1e-4) * scale
                if number:
                    intervals.append(_latency_interval(tag, second, centre, number, dice))
            second, second_ok = second + 1, ok
        in_use = min(ok, PORTS if plan.collapse else 20_100) if ok else 0
        generator: dict[str, int | float] = {
            "generator_scheduled": int(scheduled),
            "generator_started": int(ok) + int(failed),
            "generator_ok": int(ok),
            "generator_failed": int(failed),
            "generator_dropped": int(scheduled) - int(ok) - int(failed),
            "generator_connect_calls": int(calls),
            "generator_connect_call_seconds": round(call_seconds, 6),
            "generator_cpu_user_seconds": round(user, 3),
            "generator_cpu_system_seconds": round(system, 3),
            "generator_outcome_ok": int(ok),
        }
        if failed:
            generator["generator_outcome_local_port_exhausted"] = int(failed)
        client: dict[str, int | float] = {
            "sockstat_TCP_inuse": 4,
            "sockstat_TCP_tw": int(in_use),
            "ephemeral_ports_in_use": int(in_use),
            "ephemeral_ports_limit": PORTS if plan.collapse else 60_001,
            "netstat_TcpExt_TWRecycled": int(recycled),
        }
        server: dict[str, int | float] = {"sockstat_TCP_tw": 0, "netstat_TcpExt_ListenDrops": 0}
        if not plan.unread:
            server["nf_conntrack_entries"] = int(in_use)
            server["nf_conntrack_entries_limit"] = CONNTRACK_MAX
        samples += [
            Sample(round(t + dice.uniform(0, 0.004), 6), "generator", generator),
            Sample(round(t + dice.uniform(0, 0.004), 6), "client", client),
            Sample(round(t + dice.uniform(0, 0.004), 6), "server", server),
        ]
    directory.add_samples(samples)
    directory.add_intervals(intervals)
    measured = {tag: describe(counts) for tag, counts in by_tag(intervals).items()}
    n, o, f = int(scheduled), int(ok), int(failed)
    lost = n - o
    causes = []
    if lost:
        causes.append(
            Cause(
                cause="port_search",
                fault="client_host",
                connections=lost,
                first_at=first_failure,
                title="connect() searched ever longer for a free port",
                remedy="net.ipv4.tcp_tw_reuse = 1 (needs timestamps on both ends)",
                evidence=[
                    Evidence(
                        metric="ephemeral_ports_in_use",
                        value=int(knee),
                        limit=PORTS,
                        role="client",
                        at=first_failure,
                        text=f"{int(knee):,} of {PORTS:,} ports in use: half of the range",
                    ),
                    Evidence(
                        metric="generator_connect_call_seconds",
                        value=0.0014,
                        role="generator",
                        text="one connect() call took 1.4 ms on average, before that 9 µs",
                    ),
                ],
            )
        )
    snapshots = []
    if first_failure is not None:
        file = "snapshots/dropped_overdue.json"
        essence = Evidence(
            metric="ephemeral_ports_in_use",
            value=int(knee),
            limit=PORTS,
            role="client",
            at=first_failure + 0.02,
            text=f"client: {int(knee):,} of {PORTS:,} local ports in use {HOSTILE}",
        )
        snapshots.append(
            SnapshotNote(
                outcome="dropped_overdue", at=first_failure + 0.01, file=file, essence=[essence]
            )
        )
        state = State(first_failure + 0.02, {}, {})
        directory.write_snapshot(
            file,
            Kept(
                outcome="dropped_overdue", seen_at=first_failure, state=state, samples=samples[:3]
            ),
        )
    explanations = []
    if recycled:
        said = f"{int(recycled):,} connects took over a port in TIME_WAIT"
        explanations.append(Explanation(name="time_wait_reused", text=said, evidence=[]))
    summary = Summary(
        config=about.config,
        environment=environment(),
        scheduled=n,
        started=o + f,
        ok=o,
        failed=f,
        unfinished=0,
        dropped=lost - f,
        drops={"overdue": lost - f} if lost > f else {},
        elapsed=end,
        rate=Rate(target=plan.rate, offered=n / (end or 1), achieved=o / (end or 1)),
        outcomes={"ok": o, **({"local_port_exhausted": f} if f else {})},
        errors={"EADDRNOTAVAIL": f} if f else {},
        replies={"hit": o},
        first_failure_at=first_failure,
        started_before_first_failure=started_before,
        causes=causes,
        explanations=explanations,
        snapshots=snapshots,
        latency={tag: found for tag, found in measured.items() if found is not None},
        lateness=None,
        kernel={
            role: {
                name: series.range()
                for name, series in by_metric(s for s in samples if s.role == role).items()
            }
            for role in dict.fromkeys(s.role for s in samples)
            if role != "generator"
        },
        generator=Generator(
            workers=1,
            cpu_user=user,
            cpu_system=system,
            connect_call_seconds=call_seconds,
            saturated=plan.validity == "generator_limited",
            reasons=["its busiest worker used 99% of a core"]
            if plan.validity == "generator_limited"
            else [],
        ),
        warnings=[
            Notice(
                code="clock_source",
                text=f"the clock source is made up {HOSTILE}",
                remedy="none needed: nothing here was measured",
            )
        ],
        validity=plan.validity,
        verdict=Verdict(
            passed=not lost,
            thresholds=[
                ThresholdResult(expression="failed: rate == 0", value=lost / n, passed=not lost)
            ]
            if plan.threshold
            else [],
        ),
    )
    directory.write_run(msgspec.structs.replace(about, snapshots=snapshots))
    if plan.cut is None:
        directory.write_summary(summary)
    directory.close()
    return summary
