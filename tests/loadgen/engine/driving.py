"""Drives an engine in the test's own process, and checks that it accounted for everything."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import trio

from loadgen.accounting.messages import Totals
from loadgen.config import RunConfig
from loadgen.engine.connections import Make
from loadgen.engine.loop import Engine
from loadgen.protocols import PROTOCOLS
from loadgen.target import Credentials

PATIENCE = 20.0
"""Seconds by which a run may end late on a machine with other work; no test is about less."""


@dataclass
class Driven:
    """The result of a driven engine."""

    totals: Totals
    histograms: dict[str, dict[int, int]]
    interrupted: bool
    elapsed: float
    """Seconds on the engine's clock, from the run's start."""
    ticks: list[tuple[int, float]] = field(default_factory=list)
    most_in_flight: int = 0
    """At any tick."""

    def count(self, tag: str) -> int:
        """Return how many values one histogram holds."""
        return sum(self.histograms[tag].values())


async def drive(
    config: RunConfig,
    *,
    arrivals: Iterable[float] | None = None,
    concurrency: int = 8,
    make: Make = socket.SocketType,
    clock: Callable[[], float] = time.monotonic,
    lead: float = 0.02,
    stop_after: float | None = None,
    beside: Callable[[], Awaitable[None]] | None = None,
    credentials: Credentials | None = None,
    silent: bool = False,
) -> Driven:
    """Run `config` in one engine to its end, or to a stop, and check the equations.

    Args:
        config: the run.
        arrivals: when attempts are due; by the configuration's law if None.
        concurrency: of the closed loop.
        make: makes the engine's sockets.
        clock: the engine's clock.
        lead: seconds between the call and the first arrival.
        stop_after: seconds after which the engine is told to stop.
        beside: runs at the same time.
        credentials: for the servers.
        silent: whether no reply is awaited, so that there is no first byte.
    """
    if arrivals is None:
        law = () if config.closed_loop else config.law().arrivals()
        arrivals = (due - config.warmup for due in law)
    ticks: list[tuple[int, float]] = []
    in_flight = [0]

    def tick(number: int, t: float) -> None:
        ticks.append((number, t))
        in_flight.append(engine.tally.in_flight)

    engine = Engine(
        config,
        PROTOCOLS[config.protocol].scripts(config, credentials, 1),
        iter(arrivals),
        max_in_flight=config.max_in_flight,
        concurrency=concurrency,
        on_tick=tick,
        tick=config.sample_interval,
        clock=clock,
        make=make,
    )

    async def stop() -> None:
        if stop_after is not None:
            await trio.sleep(stop_after)
            engine.stop()

    begin = clock() + lead
    with trio.fail_after(lead + config.warmup + config.duration + config.timeout + PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            if beside is not None:
                nursery.start_soon(beside)
            await engine.run(begin + config.warmup)
            nursery.cancel_scope.cancel()
    totals = engine.tally.account()
    driven = Driven(
        totals,
        engine.tally.take_histograms(),
        engine.interrupted,
        engine.tally.elapsed,
        ticks,
        max(in_flight),
    )
    assert driven.most_in_flight <= (concurrency if config.closed_loop else config.max_in_flight)
    _check(driven, silent=silent)
    return driven


def _check(driven: Driven, *, silent: bool) -> None:
    totals = driven.totals
    assert totals.scheduled == totals.started + totals.dropped
    assert totals.started == totals.ok + totals.failed + totals.unfinished
    assert totals.failed == sum(totals.outcomes.values())
    assert totals.dropped == sum(totals.drops.values())
    assert totals.connect_calls <= totals.started
    assert driven.interrupted or not totals.unfinished
    assert (totals.first_failure_at is not None) == bool(totals.failed or totals.dropped)
    assert driven.count("lateness") == totals.started
    assert driven.count("total") == totals.ok
    assert silent or totals.ok <= driven.count("first_byte")
    assert driven.count("first_byte") <= driven.count("connect") <= totals.started
    numbers = [number for number, _ in driven.ticks]
    assert numbers == sorted(set(numbers))
