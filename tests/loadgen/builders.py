"""Builders of the records that many tests need, with plain defaults."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from loadgen.accounting.messages import Totals
from loadgen.config import RunConfig
from loadgen.outcome import Outcome
from loadgen.run.conclude import About, Ended
from loadgen.sample import ROLE_GENERATOR, Sample
from loadgen.summary import Environment, Number


def run_config(**changes: Any) -> RunConfig:
    """Return a configuration of one worker toward 127.0.0.1:11211."""
    address: tuple[str, int] = ("127.0.0.1", 11211)
    options: dict[str, Any] = {
        "targets": [f"{host}:{port}" for host, port in changes.get("addresses", [address])],
        "addresses": [address],
        "rate": 1000.0,
        "duration": 1.0,
        "max_in_flight": 1000,
    }
    return RunConfig(**{**options, **changes})


def about(config: RunConfig | None = None, ended: Ended | None = None, **changes: Any) -> About:
    """Return the `run.json` of a run."""
    fields: dict[str, Any] = {
        "version": "0",
        "config": config or run_config(),
        "environment": Environment(kernel="6.18", churnlab="0"),
        "started_at": "2030-01-01T00:00:00+00:00",
        "sysctls": {},
        "absent": {},
        "ended": ended,
    }
    return About(**{**fields, **changes})


def generator_sample(t: float, **values: Number) -> Sample:
    """Return one sample of the generator; names without their prefix."""
    return Sample(t, ROLE_GENERATOR, {f"generator_{name}": n for name, n in values.items()})


_count = st.integers(0, 10**6)
# Multiples of 1/64 add up exactly, in any order.
_seconds = st.integers(0, 10**6).map(lambda number: number / 64)
_drops = st.dictionaries(st.sampled_from(["overdue", "in_flight"]), st.integers(1, 1000))
_errors = st.dictionaries(
    st.sampled_from(["EADDRNOTAVAIL", "ECONNRESET", "EMFILE", "errno 999"]), st.integers(1, 1000)
)
_replies = st.dictionaries(st.sampled_from(["hit", "miss", "stored"]), st.integers(1, 1000))
_outcomes = st.dictionaries(
    st.sampled_from([str(outcome) for outcome in Outcome if outcome is not Outcome.OK]),
    st.integers(1, 1000),
)


@st.composite
def totals(draw: st.DrawFn) -> Totals:
    """Draw a worker's totals, for which both equations hold."""
    ok, unfinished = draw(_count), draw(_count)
    drops, outcomes = draw(_drops), draw(_outcomes)
    failed, dropped = sum(outcomes.values()), sum(drops.values())
    started = ok + failed + unfinished
    first = draw(_seconds) if failed or dropped else None
    return Totals(
        scheduled=started + dropped,
        started=started,
        ok=ok,
        failed=failed,
        unfinished=unfinished,
        dropped=dropped,
        connect_calls=draw(_count),
        connect_call_seconds=draw(_seconds),
        cpu_user=draw(_seconds),
        cpu_system=draw(_seconds),
        drops=drops,
        outcomes=outcomes,
        errors=draw(_errors),
        replies=draw(_replies),
        first_failure_at=first,
        started_before_first_failure=None if first is None else draw(st.integers(0, started)),
    )
