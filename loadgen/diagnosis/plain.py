"""Causes that an outcome names by itself, and what is left when no rule applies."""

from __future__ import annotations

from loadgen.diagnosis.causes import GENERATOR_SATURATED, PLAIN, UNEXPLAINED
from loadgen.diagnosis.observation import Ledger, Observation
from loadgen.sample import ROLE_GENERATOR
from loadgen.summary import Cause, Evidence


def plain_causes(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Return one cause for each outcome that needs no counters to be understood."""
    causes = []
    for outcome, kind in PLAIN.items():
        count = ledger.take([outcome])
        if count:
            evidence = [observation.count_evidence(outcome, count)]
            causes.append(kind.explains(count, evidence, words=observation.unseen))
    return causes


def generator_saturated(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Arrivals that the generator itself was too slow for."""
    count, ledger.generator_drops = ledger.generator_drops, 0
    if not count:
        return []
    usual = observation.attribution.baseline_connect
    overdue = Evidence(
        metric="generator_dropped",
        value=count,
        role=ROLE_GENERATOR,
        text=(
            f"{count:,} arrivals were overdue while connect() was not slow "
            f"({usual * 1e6:.0f} µs a call)"
        ),
    )
    first = observation.first_at("drop_overdue")
    return [GENERATOR_SATURATED.explains(count, [overdue], first_at=first)]


def unexplained(observation: Observation, ledger: Ledger) -> list[Cause]:
    """Return what is still open, with what was ruled out."""
    evidence = [
        observation.count_evidence(outcome, count)
        for outcome, count in ledger.outcomes.items()
        if count
    ]
    count = ledger.take(list(ledger.outcomes))
    if not count:
        return []
    ruled_out = "; ".join(ledger.ruled_out)
    words = {"ruled_out": f" (ruled out: {ruled_out})"} if ruled_out else {}
    return [UNEXPLAINED.explains(count, evidence, words=words)]
