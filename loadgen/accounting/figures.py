"""From what was counted to the figures of a summary, of one generator's run and of a fleet's. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from loadgen.accounting.latency import Counts, describe
from loadgen.accounting.messages import LATENCIES, LATENESS, Totals
from loadgen.config import RunConfig
from loadgen.outcome import Outcome
from loadgen.summary import Latency, Rate, TlsUse


def outcomes(totals: Totals) -> dict[str, int]:
    """Return how the attempts ended, `ok` first; those that did not occur are left out."""
    found = {str(Outcome.OK): totals.ok, **totals.outcomes}
    return {name: count for name, count in found.items() if count}


def rate(totals: Totals, seconds: float, target: float | None) -> Rate:
    """Return what was asked for, and what fell due and was answered a second.

    Args:
        totals: of the run.
        seconds: over which they were counted, above 0.
        target: arrivals a second that the schedule means; None in the closed loop.
    """
    return Rate(target=target, offered=totals.scheduled / seconds, achieved=totals.ok / seconds)


def tls_use(totals: Totals, config: RunConfig) -> TlsUse | None:
    """Return what TLS cost the generator; None where it was not spoken."""
    if config.tls is None:
        return None
    return TlsUse(
        handshakes=totals.tls_handshakes,
        resumed=totals.tls_resumed,
        cpu_seconds=totals.tls_cpu,
    )


def latencies(histograms: Mapping[str, Counts]) -> dict[str, Latency]:
    """Return the summaries of a run's histograms by tag, lateness last; empty ones are left out."""
    return {
        tag: found
        for tag in (*LATENCIES, LATENESS)
        if (found := describe(histograms.get(tag, {}))) is not None
    }
