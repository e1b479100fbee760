"""From the files of a run to its summary: one pure function, for live runs and stored ones alike.

A run that ended well is summed up from the same records as one that was killed half-way: `run.json`,
the samples and the interval histograms. What a killed run lacks is said in its warnings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from loadgen import diagnosis, thresholds
from loadgen.accounting import figures
from loadgen.accounting.latency import Counts
from loadgen.accounting.messages import LATENESS, Totals
from loadgen.accounting.sums import totals_of
from loadgen.config import RunConfig
from loadgen.diagnosis import honesty, limit
from loadgen.diagnosis.port_use import PortUse
from loadgen.diagnosis.series import by_metric
from loadgen.protocols import PROTOCOLS
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR, ROLE_HOST, Sample
from loadgen.summary import (
    EMULATED_WORDS,
    Cause,
    Environment,
    Generator,
    Notice,
    SnapshotNote,
    Summary,
    Validity,
    Verdict,
    emulated,
)
from loadgen.target import is_loopback
from loadgen.units import Count, Real, Seconds


class About(msgspec.Struct, kw_only=True):
    """`run.json`: what is known of a run besides its measurements."""

    schema: str = "churnlab.about/1"
    version: str
    config: RunConfig
    environment: Environment
    started_at: str
    """RFC 3339."""
    sysctls: dict[str, dict[str, str]]
    """In force when the run began, by role."""
    absent: dict[str, dict[str, str]]
    """Metrics that could not be read, by role, with the reason."""
    seeded: bool | None = None
    """Whether the keys were stored before the run; None when nothing had to be."""
    origin: Real | None = None
    """Time 0 of the run on CLOCK_MONOTONIC, in seconds; None until it is fixed. Whoever watches the
    same machine from elsewhere puts its readings on the run's clock with it."""
    spoken: dict[str, str] = msgspec.field(default_factory=dict)
    """What servers speak that do not speak memcached's text, by `host:port`, asked after the run."""
    late: Seconds = 0.0
    """Seconds after the moment of `--start-at` at which the workers were ready."""
    snapshots: list[SnapshotNote] = msgspec.field(default_factory=list)
    ended: Ended | None = None
    """None while the run goes on, and for good when it was killed."""

    def __post_init__(self) -> None:
        """Check what one field alone does not show.

        Raises:
            ValueError: for a threshold that is none, or a protocol that nobody knows.
        """
        for expression in self.config.thresholds:
            thresholds.parse_threshold(expression)
        if self.config.protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {self.config.protocol!r}")


class Ended(msgspec.Struct, kw_only=True):
    """How a run ended."""

    elapsed: Seconds
    interrupted: bool = False
    aborted_by: str | None = None
    """The threshold that ended the run early."""
    unwritten: str = ""
    """The file that could not be written, and why, when that ended the run early."""
    lost_workers: list[str] = msgspec.field(default_factory=list)
    sampler_overruns: Count = 0


def conclude(about: About, samples: Sequence[Sample], histograms: Mapping[str, Counts]) -> Summary:
    """Return the summary of a run.

    Args:
        about: the contents of `run.json`.
        samples: all roles, in the order they were written.
        histograms: the whole run's, by tag, in buckets of microseconds.
    """
    config = about.config
    by_role: dict[str, list[Sample]] = {}
    for item in sorted(samples, key=lambda item: item.t):
        by_role.setdefault(item.role, []).append(item)
    generator_samples = by_role.get(ROLE_GENERATOR, [])
    totals = totals_of(generator_samples[-1].values) if generator_samples else Totals()
    series = honesty.intervals(generator_samples)
    ports = PortUse(by_role.get(ROLE_CLIENT, []), config)
    attribution = honesty.attribute(series, config.workers, ports)
    readings = {role: by_metric(found) for role, found in by_role.items()}
    kernel = {
        role: {name: found.range() for name, found in metrics.items()}
        for role, metrics in readings.items()
        if role != ROLE_GENERATOR
    }
    latencies = figures.latencies(histograms)
    observation = diagnosis.Observation(
        config=config,
        totals=totals,
        attribution=attribution,
        samples=by_role,
        series=readings,
        kernel=kernel,
        sysctls=about.sysctls,
        latency=latencies,
        spoken=about.spoken,
    )
    causes = diagnosis.diagnose(observation)
    reasons = honesty.saturation(series, attribution, totals.scheduled, by_role.get(ROLE_HOST, []))
    elapsed = generator_samples[-1].t if generator_samples else 0.0
    ended = about.ended
    whole = ended is not None and not ended.interrupted
    counted = config.duration if whole else min(elapsed, config.duration) or config.duration
    target = None if config.closed_loop else config.law().mean_rate / config.shard[1]
    result = Summary(
        config=config,
        environment=about.environment,
        scheduled=totals.scheduled,
        started=totals.started,
        ok=totals.ok,
        failed=totals.failed,
        unfinished=totals.unfinished,
        dropped=totals.dropped,
        drops=totals.drops,
        elapsed=elapsed,
        rate=figures.rate(totals, counted, target),
        outcomes=figures.outcomes(totals),
        errors=totals.errors,
        replies=totals.replies,
        first_failure_at=totals.first_failure_at,
        started_before_first_failure=totals.started_before_first_failure,
        causes=causes,
        explanations=diagnosis.explanations(observation),
        snapshots=about.snapshots,
        latency={tag: found for tag, found in latencies.items() if tag != LATENESS},
        lateness=latencies.get(LATENESS),
        kernel=kernel,
        generator=Generator(
            workers=config.workers,
            cpu_user=totals.cpu_user,
            cpu_system=totals.cpu_system,
            connect_call_seconds=totals.connect_call_seconds,
            tls=figures.tls_use(totals, config),
            saturated=bool(reasons),
            reasons=reasons,
            limit=limit.describe(
                series,
                totals,
                attribution,
                by_role.get(ROLE_HOST, []),
                closed_loop=config.closed_loop,
            ),
        ),
        warnings=_warnings(about, attribution, reasons, totals, causes),
        validity=_validity(about, reasons),
        verdict=Verdict(passed=True, thresholds=[]),
    )
    expressions = config.thresholds or [thresholds.DEFAULT]
    gates = [thresholds.parse_threshold(expression) for expression in expressions]
    return msgspec.structs.replace(result, verdict=thresholds.verdict(gates, result))


def _validity(about: About, reasons: list[str]) -> Validity:
    ended = about.ended
    if ended is None or ended.interrupted or ended.lost_workers:
        return "partial"
    return "generator_limited" if reasons else "valid"


def _edges(about: About) -> Iterator[Notice]:
    """Yield what is to be said of a run that was not ready at its agreed start, or ended early."""
    if about.late:
        yield Notice(
            code="started_late",
            text=f"the workers were ready {about.late:.2f} s after the agreed start",
            remedy="what was due until then was overdue; agree on a later start",
        )
    ended = about.ended
    if ended is None:
        yield Notice(
            code="truncated",
            text="the run did not end by itself",
            remedy="what was recorded until then is shown",
        )
    elif ended.unwritten:
        yield Notice(
            code="unwritten",
            text=ended.unwritten,
            remedy="what was measured until then is shown; make room",
        )
    elif ended.aborted_by is not None:
        yield Notice(
            code="aborted",
            text=f"the run was ended by {ended.aborted_by!r}",
            remedy="see the threshold",
        )
    elif ended.interrupted:
        yield Notice(
            code="interrupted", text="the run was interrupted", remedy="let it run to its end"
        )


def _warnings(
    about: About,
    attribution: honesty.Attribution,
    reasons: list[str],
    totals: Totals,
    causes: Sequence[Cause],
) -> list[Notice]:
    config, ended = about.config, about.ended
    found = list(_edges(about))

    def warn(code: str, text: str, remedy: str) -> None:
        found.append(Notice(code=code, text=text, remedy=remedy))

    for lost in ended.lost_workers if ended else ():
        warn("lost_worker", lost, "its share of the arrivals is missing, and not made up for")
    if emulated(about.environment):
        warn(
            "emulated", EMULATED_WORDS, "measure times on a machine of its own, or where KVM works"
        )
    for reason in reasons:
        warn("generator_limited", reason, "lower --rate or give the generator more CPU")
    if about.seeded is False:
        warn("not_seeded", "the keys could not be stored before the run", "expect misses")
    if ended and ended.sampler_overruns:
        warn(
            "sampler_overrun",
            f"{ended.sampler_overruns} readings of the kernel took longer than their interval",
            "raise --interval",
        )
    for cause in causes:
        if cause.cause == diagnosis.TIME_WAIT_OVERFLOW.name:
            warn("false_success", cause.title, cause.remedy)
    if attribution.generator and not reasons:
        warn(
            "few_drops",
            f"{attribution.generator} of {totals.scheduled} arrivals were dropped by the generator",
            "too few to matter; lower --rate for none",
        )
    if config.close == "client" and any(is_loopback(host) for host, _ in config.addresses):
        warn(
            "loopback",
            "on 127/8 and ::1 the default tcp_tw_reuse=2 already reuses ports in TIME_WAIT",
            "test between two namespaces (lab run) to see what a network would do",
        )
    return found
