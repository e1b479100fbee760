"""The engine when the kernel makes connect() slow: arrivals are dropped, never chased.

Slowness is made with the clock: it jumps ahead inside connect(), so that a test of many slow
seconds takes none.
"""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
import trio

from loadgen.accounting.latency import highest
from loadgen.config import RunConfig
from tests.loadgen.builders import run_config
from tests.loadgen.engine.driving import Driven, drive
from tests.loadgen.hostile import Hostile, answering, silent


class Clock:
    """The real clock, and what it was put forward by."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Return seconds."""
        return time.monotonic() + self.ahead


class _SlowSocket(socket.socket):
    """A socket whose connect() takes `seconds` of the clock."""

    clock: Clock
    seconds: float

    def connect_ex(self, address: Any) -> int:
        self.clock.ahead += self.seconds
        return super().connect_ex(address)


async def _drive(config: RunConfig, seconds: float) -> Driven:
    clock = Clock()

    def make(family: int, kind: int) -> socket.SocketType:
        sock = _SlowSocket(family, kind)
        sock.clock, sock.seconds = clock, seconds
        return sock

    return await drive(config, make=make, clock=clock)


def _config(server: Hostile, **changes: object) -> RunConfig:
    options = {
        "addresses": [server.address],
        "rate": 1000.0,
        "duration": 10.0,
        "max_lateness": 0.1,
        "timeout": 1000.0,
        "connect_timeout": 1000.0,
    }
    return run_config(**{**options, **changes})


@pytest.mark.parametrize("seconds", [0.02, 0.5, 3.0])
async def test_overdue_arrivals_are_dropped_and_the_run_ends_on_time(seconds: float) -> None:
    """10,000 arrivals are due; connect() lets a few hundred through, or only a few."""
    with Hostile(answering(b"END\r\n")) as server:
        driven = await _drive(_config(server), seconds)
    totals = driven.totals
    assert totals.scheduled == 10_000
    assert totals.drops == {"overdue": totals.dropped}
    assert totals.ok == totals.started
    # As many as fit into the run, and those that were due within the last one's lateness.
    most = (10 + 0.1) / seconds + 1
    assert 1 <= totals.started <= most
    assert totals.started > most / 3
    # Not longer than the run, the lateness and one more connect(); the rest is this machine's.
    assert 10 - 0.5 <= driven.elapsed < 10 + 0.1 + 2 * seconds + 5


async def test_the_time_inside_connect_is_measured() -> None:
    with Hostile(answering(b"END\r\n")) as server:
        totals = (await _drive(_config(server), 0.05)).totals
    assert totals.connect_calls == totals.started
    assert totals.connect_call_seconds == pytest.approx(0.05 * totals.started, rel=0.5)
    assert totals.connect_call_seconds >= 0.05 * totals.started * 0.99
    assert totals.first_failure_at is not None
    assert totals.first_failure_at >= 0.1


async def test_nothing_is_started_later_than_allowed() -> None:
    """Each connect() takes 3 s, so whoever chased the backlog would be seconds late."""
    with Hostile(answering(b"END\r\n")) as server:
        driven = await _drive(_config(server, duration=30.0), 3.0)
    assert driven.totals.started >= 3
    assert highest(max(driven.histograms["lateness"])) < 1.5e6


async def test_nothing_is_dropped_when_lateness_is_allowed() -> None:
    with Hostile(answering(b"END\r\n")) as server:
        driven = await _drive(_config(server, rate=50.0, duration=2.0, max_lateness=900.0), 0.1)
    assert (driven.totals.ok, driven.totals.dropped) == (100, 0)


async def test_what_waited_for_room_until_it_was_overdue_is_not_the_generator_s_doing() -> None:
    """Two silent connections hold all the room; it comes free when the rest is overdue already."""
    clock = Clock()

    async def jump() -> None:
        await trio.sleep(0.2)
        clock.ahead += 1.0

    with Hostile(silent) as server:
        config = _config(server, max_in_flight=2, timeout=0.7, max_lateness=0.6)
        arrivals = [0.0] * 2 + [0.01] * 100
        driven = await drive(config, arrivals=arrivals, clock=clock, beside=jump)
    assert driven.totals.outcomes == {"reply_timeout": 2}
    assert driven.totals.drops == {"in_flight": 100}


async def test_what_came_when_there_was_room_is_the_generator_s_doing() -> None:
    """The loop stands still for six seconds, with nothing else in its way."""
    clock = Clock()

    with Hostile(answering(b"END\r\n")) as server:

        async def jump() -> None:
            while len(server.peers) < 2:
                await trio.sleep(0.01)
            clock.ahead += 6.0

        arrivals = [0.0] * 2 + [5.0] * 100
        config = _config(server, max_lateness=0.9)
        driven = await drive(config, arrivals=arrivals, clock=clock, beside=jump)
    assert driven.totals.ok == 2
    assert driven.totals.drops == {"overdue": 100}
