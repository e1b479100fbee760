"""Runs experiments: each in namespaces of its own, the long waits beside everything else.

An experiment blocks in a worker thread. Those that mostly sleep run at once and together; the
others run one after the other in the meantime, since two of them at a time would spoil each other's
times. The main task makes the namespaces and starts memcached, because only a child of the main
thread dies with the lab (`lab.testbed.processes`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Protocol

import trio

from lab.claims.experiments import ClaimExperiment
from lab.claims.findings import Finding
from lab.claims.outcome import Failed, Found, Outcome, Refused
from lab.testbed.base import SitePlan, TestbedError
from lab.testbed.ground import Ground
from lab.testbed.netns import NetnsSite, NetnsTestbed, addresses, pair
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.sampling.namespace import NamespaceError
from loadgen.sampling.parse import ParseError


class ClaimsProgress(Protocol):
    """Shows the progress of a run."""

    def started(self, experiment: ClaimExperiment[Any]) -> None:
        """An experiment has begun."""

    def ended(self, experiment: ClaimExperiment[Any], outcome: Outcome) -> None:
        """An experiment is over."""


@asynccontextmanager
async def _ground(experiment: ClaimExperiment[Any]) -> AsyncIterator[Ground]:
    source, servers = addresses(ROLE_CLIENT, 1)[0], addresses(ROLE_SERVER, experiment.servers)
    if experiment.memcached:
        plan = SitePlan(servers=experiment.servers, rtt=experiment.rtt, memcached_threads=1)
        async with NetnsTestbed().site(plan) as site:
            assert isinstance(site, NetnsSite)
            yield Ground(site.client, site.server, source, servers, site.notes)
        return
    with ExitStack() as stack:
        client, server = pair(stack, servers=experiment.servers)
        yield Ground(client, server, source, servers)


def _measure(experiment: ClaimExperiment[Any], ground: Ground) -> Finding:
    with ground.stack:
        finding = experiment.run(ground)
    assert isinstance(finding, Finding)
    return finding


async def measure(experiment: ClaimExperiment[Any], patience: float = 1.0) -> Outcome:
    """Run one experiment and return its outcome; only cancellation is raised.

    An experiment that meets what it did not foresee is `Failed`: a fault of the lab or of the
    machine, and no finding.

    Args:
        experiment: which.
        patience: times its own limit after which it is given up.
    """
    started = time.monotonic()
    finding: Finding | None = None
    reason = ""
    try:
        with trio.move_on_after(experiment.limit * patience):
            async with _ground(experiment) as ground:
                # One thread each, beside trio's default limit, which is for quick calls.
                finding = await trio.to_thread.run_sync(
                    _measure, experiment, ground, limiter=trio.CapacityLimiter(1)
                )
    except TestbedError as error:
        return Refused(str(error), time.monotonic() - started)
    except (OSError, NamespaceError, ParseError, ValueError, LookupError) as error:
        reason = f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    if finding is not None:
        return Found(finding, seconds)
    return Failed(reason or f"took longer than {experiment.limit * patience:g} s", seconds)


async def run(
    experiments: Iterable[ClaimExperiment[Any]],
    progress: ClaimsProgress,
    outcomes: dict[type[Finding], Outcome],
    patience: float = 1.0,
) -> None:
    """Run all experiments; `outcomes` is filled as they end, so that a cut run keeps what it has.

    Args:
        experiments: which.
        progress: is told how it goes on.
        outcomes: filled.
        patience: times an experiment's own limit after which it is given up.

    Raises:
        trio.Cancelled: when cancelled; nothing is left behind.
    """

    async def one(experiment: ClaimExperiment[Any]) -> None:
        progress.started(experiment)
        outcome = await measure(experiment, patience)
        outcomes[experiment.finding] = outcome
        progress.ended(experiment, outcome)

    wanted = list(experiments)
    async with trio.open_nursery() as nursery:
        for experiment in wanted:
            if experiment.waits:
                nursery.start_soon(one, experiment)
        for experiment in wanted:
            if not experiment.waits:
                await one(experiment)
