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

from loadgen.config import RunConfig
from loadgen.engine import protocol
from loadgen.engine.sockets import IP_BIND_ADDRESS_NO_PORT, RESET_ON_CLOSE
from loadgen.latency import BUCKETS, bucket, sparse
from loadgen.messages import LATENESS, TAGS, Totals
from loadgen.outcome import Outcome, Phase, classify, errno_name

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
    """What one attempt came to, carried from its thread to the loop."""

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
    """Runs one worker's arrivals with pymemcache; the same face as `loadgen.engine.loop.Engine`."""

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
        self.totals = Totals()
        self.interrupted = False
        self._config = config
        self._arrivals = arrivals
        self._on_tick = on_tick
        self._tick = tick
        self._limit = min(_MOST_THREADS, concurrency if config.closed_loop else max_in_flight)
        self._threads = trio.CapacityLimiter(self._limit)
        self._pairs = cycle(list(product(config.source_addresses or [""], config.addresses)))
        self._draw = random.Random(seed)
        self._value = protocol.value_of(config.value_size)
        self._counts = {tag: [0] * BUCKETS for tag in TAGS}
        self._origin = 0.0
        self._under_way = 0
        self._stopping = trio.Event()

    @property
    def in_flight(self) -> int:
        """Attempts of the counted run that are under way."""
        return self.totals.started - self.totals.ok - self.totals.failed

    @property
    def elapsed(self) -> float:
        """Seconds since the counted run's start."""
        return time.monotonic() - self._origin

    def account(self) -> Totals:
        """Return the totals as they stand."""
        self.totals.unfinished = self.in_flight
        return self.totals

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping.set()

    def take_histograms(self) -> dict[str, dict[int, int]]:
        """Return what was counted since the last call, by tag, and begin anew."""
        taken = {tag: sparse(counts) for tag, counts in self._counts.items()}
        self._counts = {tag: [0] * BUCKETS for tag in TAGS}
        return taken

    async def run(self, origin: float) -> None:
        """Make every attempt; return when the last has ended."""
        self._origin = origin
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
            intended = self._origin + due
            await trio.sleep(max(0.0, intended - time.monotonic()))
            if self._stopping.is_set():
                return
            now = time.monotonic()
            full = self._under_way >= self._limit
            if now - intended > self._config.max_lateness or full:
                self._drop(intended, now, "in_flight" if full else "overdue")
            else:
                self._under_way += 1
                nursery.start_soon(self._attempt, intended)

    async def _closed_loop(self) -> None:
        await trio.sleep(max(0.0, self._origin - self._config.warmup - time.monotonic()))
        while time.monotonic() < self._origin + self._config.duration:
            if self._stopping.is_set():
                return
            self._under_way += 1
            await self._attempt(time.monotonic())

    async def _keep_ticking(self) -> None:
        while True:
            number = max(0, int(self.elapsed / self._tick) + 1)
            await trio.sleep(max(0.0, number * self._tick - self.elapsed))
            self._on_tick(number, self.elapsed)

    def _drop(self, intended: float, now: float, reason: str) -> None:
        if intended < self._origin:
            return
        totals = self.totals
        totals.scheduled += 1
        totals.dropped += 1
        totals.drops[reason] = totals.drops.get(reason, 0) + 1
        self._note_failure(now)

    async def _attempt(self, intended: float) -> None:
        counted = intended >= self._origin
        started = time.monotonic()
        if counted:
            self.totals.scheduled += 1
            self.totals.started += 1
            self._record(LATENESS, started - intended)
        source, address = next(self._pairs)
        operation = "get" if self._draw.random() < self._config.gets else "set"
        key = protocol.key_of(self._draw.randrange(self._config.key_space)).decode()
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
        totals = self.totals
        totals.connect_calls += 1
        totals.connect_call_seconds += result.connect_seconds
        now = time.monotonic()
        if result.connected is not None:
            self._record("connect", result.connected - intended)
        if result.outcome is Outcome.OK:
            totals.ok += 1
            totals.replies[result.reply] = totals.replies.get(result.reply, 0) + 1
            self._record("total", now - intended)
            return
        totals.failed += 1
        totals.outcomes[result.outcome] = totals.outcomes.get(result.outcome, 0) + 1
        if result.error:
            name = errno_name(result.error)
            totals.errors[name] = totals.errors.get(name, 0) + 1
        self._note_failure(now)

    def _note_failure(self, now: float) -> None:
        if self.totals.first_failure_at is None:
            self.totals.first_failure_at = now - self._origin
            self.totals.started_before_first_failure = self.totals.started

    def _record(self, tag: str, seconds: float) -> None:
        index = min(bucket(max(0, int(seconds * 1e6))), BUCKETS - 1)
        self._counts[tag][index] += 1


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
