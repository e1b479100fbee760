"""The reference workload: pymemcache itself, a new client and connection for every call.

What many web applications do, and what `loadgen`'s own loop imitates at ten times the rate: an
attempt is `Client(address).get(key)` and `close()` in a thread. It takes the schedule, the deadlines
and the accounting of `loadgen.engine.loop`, so that both can be compared; what it cannot do is stated in
`unsupported`.
"""

from __future__ import annotations

import errno
import random
import socket
import time
from collections.abc import Callable, Iterator
from itertools import cycle, product
from types import SimpleNamespace
from typing import Any

import trio
from pymemcache.client.base import Client
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownError,
)

from loadgen.accounting.messages import LATENESS
from loadgen.config import RunConfig
from loadgen.engine.tally import Tally
from loadgen.outcome import Outcome, Phase, classify
from loadgen.protocols import keys
from loadgen.protocols.sockets import IP_BIND_ADDRESS_NO_PORT, RESET_ON_CLOSE

_MOST_THREADS = 256
_NAMES = {name: getattr(socket, name) for name in dir(socket) if not name.startswith("_")}


def unsupported(config: RunConfig) -> str | None:
    """Return why this workload cannot do what `config` asks, or None when it can."""
    if config.close == "server":
        return "--client pymemcache always closes first; leave out --close server"
    if config.local_port_range is not None or config.bind_early:
        return "--client pymemcache sets no port options; use --client raw"
    return None


class _Result:
    """How one attempt ended, carried from its thread to the loop."""

    __slots__ = ("connect_seconds", "connected", "error", "outcome", "reply")

    def __init__(self) -> None:
        self.outcome = Outcome.OK
        self.error = 0
        self.reply = ""
        self.connected: float | None = None
        self.connect_seconds = 0.0


def _sockets(result: _Result, source: str, *, reset: bool) -> Any:
    """Return what pymemcache takes for the socket module: sockets that note when they connect."""

    class Timed(socket.socket):
        def connect(self, address: Any) -> None:
            if source:
                self.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                self.bind((source, 0))
            if reset:
                self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            before = time.monotonic()
            try:
                super().connect(address)
                result.connected = time.monotonic()
            finally:
                result.connect_seconds = time.monotonic() - before

    return SimpleNamespace(**{**_NAMES, "socket": Timed})


class LibraryEngine:
    """Runs one worker's arrivals with pymemcache. A `Workload`, as `loadgen.engine.loop.Engine` is.

    Args:
        config: the run's configuration.
        arrivals: when attempts are due, in seconds from the run's start (warm-up is negative);
            ignored in the closed loop.
        max_in_flight: attempts under way at most; threads set a limit too.
        concurrency: attempts kept under way in the closed loop.
        on_tick: called every `tick` seconds of the run with the tick's number and time.
        tick: seconds between ticks.
        seed: draws the keys.
    """

    def __init__(
        self,
        config: RunConfig,
        arrivals: Iterator[float],
        *,
        max_in_flight: int,
        concurrency: int,
        on_tick: Callable[[int, float], None],
        tick: float = 0.1,
        seed: int = 1,
    ) -> None:
        self.tally = Tally()
        self.interrupted = False
        self._config = config
        self._arrivals = arrivals
        self._on_tick = on_tick
        self._tick = tick
        self._limit = min(_MOST_THREADS, concurrency if config.closed_loop else max_in_flight)
        self._threads = trio.CapacityLimiter(self._limit)
        self._pairs = cycle(list(product(config.source_addresses or [""], config.addresses)))
        self._draw = random.Random(seed)
        self._value = keys.value_of(config.value_size)
        self._under_way = 0
        self._stopping = trio.Event()

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping.set()

    async def run(self, origin: float) -> None:
        """Make every attempt; return when the last has ended."""
        self.tally.origin = origin
        async with trio.open_nursery() as outer:
            outer.start_soon(self._keep_ticking)
            async with trio.open_nursery() as nursery:
                if self._config.closed_loop:
                    for _ in range(self._limit):
                        nursery.start_soon(self._closed_loop)
                else:
                    await self._open_loop(nursery)
            outer.cancel_scope.cancel()
        self.interrupted = self._stopping.is_set()

    async def _open_loop(self, nursery: trio.Nursery) -> None:
        for due in self._arrivals:
            intended = self.tally.origin + due
            await trio.sleep(max(0.0, intended - time.monotonic()))
            if self._stopping.is_set():
                return
            now = time.monotonic()
            full = self._under_way >= self._limit
            if now - intended > self._config.max_lateness or full:
                self.tally.drop(intended, now, "in_flight" if full else "overdue")
            else:
                self._under_way += 1
                nursery.start_soon(self._attempt, intended)

    async def _closed_loop(self) -> None:
        await trio.sleep(max(0.0, self.tally.origin - self._config.warmup - time.monotonic()))
        while time.monotonic() < self.tally.origin + self._config.duration:
            if self._stopping.is_set():
                return
            self._under_way += 1
            await self._attempt(time.monotonic())

    async def _keep_ticking(self) -> None:
        while True:
            number = max(0, int(self.tally.elapsed / self._tick) + 1)
            await trio.sleep(max(0.0, number * self._tick - self.tally.elapsed))
            self._on_tick(number, self.tally.elapsed)

    async def _attempt(self, intended: float) -> None:
        counted = intended >= self.tally.origin
        started = time.monotonic()
        if counted:
            self.tally.totals.started += 1
            self.tally.record(LATENESS, started - intended)
        source, address = next(self._pairs)
        operation = "get" if self._draw.random() < self._config.gets else "set"
        key = keys.key_of(self._draw.randrange(self._config.key_space)).decode()
        result = _Result()
        try:
            await trio.to_thread.run_sync(
                self._call, result, source, address, operation, key, limiter=self._threads
            )
        finally:
            self._under_way -= 1
        if counted:
            self._count(result, intended)

    def _call(
        self, result: _Result, source: str, address: tuple[str, int], operation: str, key: str
    ) -> None:
        """Make one connection and its requests, in a thread."""
        config = self._config
        client = Client(
            address,
            connect_timeout=config.connect_timeout,
            timeout=config.timeout,
            no_delay=False,
            default_noreply=False,
            socket_module=_sockets(result, source, reset=config.close == "rst"),
        )
        try:
            for _ in range(config.requests_per_connection):
                if operation == "get":
                    result.reply = "miss" if client.get(key) is None else "hit"
                else:
                    result.reply = "stored" if client.set(key, self._value) else "not_stored"
        except (OSError, MemcacheError) as error:
            result.outcome, result.error = _judge(error, connected=result.connected is not None)
        finally:
            client.close()

    def _count(self, result: _Result, intended: float) -> None:
        tally = self.tally
        tally.totals.connect_calls += 1
        tally.totals.connect_call_seconds += result.connect_seconds
        if result.connected is not None:
            tally.record("connect", result.connected - intended)
        if result.outcome is Outcome.OK:
            tally.reply(result.reply)
            tally.success(intended)
            return
        if result.error:
            tally.errno(result.error)
        tally.failure(result.outcome)


def _judge(error: Exception, *, connected: bool) -> tuple[Outcome, int]:
    """Return the outcome and errno that an exception of pymemcache stands for."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return (Outcome.REPLY_TIMEOUT if connected else Outcome.CONNECT_TIMEOUT), 0
    if isinstance(error, MemcacheUnexpectedCloseError):
        return Outcome.TRUNCATED_REPLY, 0
    if isinstance(error, MemcacheUnknownError | MemcacheServerError | MemcacheClientError):
        if "Too many open connections" in str(error):
            return Outcome.TOO_MANY_CONNECTIONS, 0
        known = isinstance(error, MemcacheServerError | MemcacheClientError)
        return (Outcome.SERVER_ERROR if known else Outcome.MALFORMED_REPLY), 0
    if isinstance(error, OSError):
        number = error.errno or errno.EIO
        return classify(Phase.EXCHANGE if connected else Phase.CONNECT, number), number
    return Outcome.OTHER_ERROR, 0
