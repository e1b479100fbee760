"""The hot loop: opens, serves and closes connections, in one thread, as fast as the kernel does.

Theory of operation. Everything a connection needs from the kernel costs one system call each:
socket, connect, send, epoll_ctl, recv, close, and a share of epoll_wait. The loop adds as little as
it can to that:

- connect() on a non-blocking socket returns EINPROGRESS. On a fast LAN, and always between two
  namespaces of one machine, the handshake is over before the next line runs; so the request is sent
  at once, and only when that answers EAGAIN does the loop wait for the socket to become writable.
- Requests, the replies they usually get, and the table of histogram buckets exist before the run.
- An attempt's object is used again for the next one, so nothing is allocated for a connection but
  its socket. Garbage collection is off: nothing here makes cycles.
- The usual life of a connection, from its arrival to the close() after the reply that was expected,
  runs within one function, `_loop`, on local variables: in CPython a call costs as much as the rest
  of what is done between two system calls. Everything unusual (an errno, EAGAIN, a partial reply, a
  second request, `quit`) is left to methods.
- epoll's timeout counts whole milliseconds in Python, which at 20,000/s is twenty arrivals. Short
  waits are therefore made by other means (`loadgen.engine.waiting`). Long ones are trio's, and only while
  no attempt is under way: a reply that comes by way of trio is noticed 0.1 ms later.
- Sleeping is the dearest thing there is: to fall asleep and be woken costs as much as a third of a
  connection. The loop sleeps only when there is nothing to do, and for `_GATHER` at least.

The clock is read before and after connect(), because time spent *inside* it is the mark of the
kernel's port search (`loadgen.diagnosis`), and drops that it causes are not the generator's fault.

Deadlines need no timers: attempts are kept in the order of their start, so the overdue ones are at
the front, and a sweep finds them: every 10 to 25 ms, depending on how short the timeouts are.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence

import trio

from loadgen.accounting.latency import BUCKET_OF, slow_bucket
from loadgen.accounting.messages import LATENESS
from loadgen.config import RunConfig
from loadgen.engine.attempt import State
from loadgen.engine.connections import NON_BLOCKING_STREAM, Attempt, Connections, Make
from loadgen.engine.lines import ways
from loadgen.engine.tally import Tally
from loadgen.engine.waiting import Ready, waiting_on
from loadgen.outcome import Phase
from loadgen.protocols.seam import Script

_BATCH = 16
"""Arrivals started, and then replies served, at a time: no arrival waits for more than 16 replies
(some 0.2 ms), nor a reply for more than 16 arrivals."""
_BATCH_CLOSED = 64
"""The same in the closed loop, where nothing is ever late."""
_GATHER = 50e-6
"""The shortest sleep. To fall asleep and wake up costs 20 µs of CPU and more; so what falls due
within a shorter time is gathered, and is late by that much at most."""
_SWEEP = 0.01, 0.025
"""The least and the most seconds between two sweeps. Each wakes the loop up, and trio with it."""
_TRIO_WAIT = 0.005
_TABLE = len(BUCKET_OF)
_NEVER = float("inf")


class Engine:
    """Runs one worker's arrivals against the targets, and counts. A `Workload`.

    Args:
        config: the run's configuration.
        scripts: what is said to each target, in the order of the configuration's addresses.
        arrivals: when attempts are due, in seconds from the run's start (warm-up is negative);
            ignored in the closed loop.
        max_in_flight: attempts under way at most, in this worker.
        concurrency: attempts kept under way in the closed loop, in this worker.
        on_tick: called every `tick` seconds of the run with the tick's number and time.
        tick: seconds between ticks.
        clock: CLOCK_MONOTONIC, in seconds.
        make: the socket's class. SocketType is the C class: the Python class on top of it would only
            cost time.
    """

    def __init__(
        self,
        config: RunConfig,
        scripts: Sequence[Script],
        arrivals: Iterator[float],
        *,
        max_in_flight: int,
        concurrency: int,
        on_tick: Callable[[int, float], None],
        tick: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
        make: Make = socket.SocketType,
    ) -> None:
        self.tally = Tally(clock)
        self.interrupted = False
        self._config = config
        self._arrivals = arrivals
        self._on_tick = on_tick
        self._tick = tick
        self._limit = concurrency if config.closed_loop else max_in_flight
        self._make = make
        self._connections = Connections(config, scripts, self.tally, make)
        self._ways = ways(config, scripts)
        self._usual = {
            request.usual: 0
            for script in scripts
            for request in (*script.first, *script.later, *script.last)
        }
        # Some conversations are over when all is said: with the handshake, if that is nothing.
        self._mute = any(request.reply is None for s in scripts for request in s.first)
        self._next_tick = 0.0
        self._full_at = float("-inf")  # when an arrival last found no room
        self._stopping = False

    def stop(self) -> None:
        """Start nothing more; what is under way becomes `unfinished` at the next round."""
        self._stopping = True

    async def run(self, origin: float) -> None:
        """Make every attempt; return when the last has ended.

        Args:
            origin: when the counted run starts, on the tally's clock; the warm-up comes before.
        """
        self.tally.origin = self._next_tick = origin
        await self._loop()
        self.interrupted = self._stopping
        self._connections.abandon()

    async def _loop(self) -> None:  # noqa: C901, PLR0912, PLR0915 - see the theory of operation
        config, tally, there = self._config, self.tally, self._connections
        clock, arrivals, the_ways = tally.clock, self._arrivals, self._ways
        origin, closed_loop, limit = tally.origin, config.closed_loop, self._limit
        begin, end = origin - config.warmup, origin + config.duration
        lateness = _NEVER if closed_loop else config.max_lateness
        make, family, kind = self._make, there.family, NON_BLOCKING_STREAM
        plain = config.local_port_range is None and not any(config.source_addresses)
        simple = config.requests_per_connection == 1 and config.close == "client"
        more_requests = config.requests_per_connection - 1
        mute = self._mute
        wait = waiting_on(there.epoll)
        poll, register, receive = there.epoll.poll, there.epoll.register, there.receive
        attempts, spare, totals, replies = there.attempts, there.spare, tally.totals, tally.replies
        replies.update(self._usual)
        connecting, awaiting, readable = State.CONNECTING, State.AWAITING_REPLY, select.EPOLLIN
        secure = config.tls is not None
        connected = State.SECURING if secure else awaiting
        least, most = _SWEEP
        shortest = min(config.connect_timeout, config.timeout)
        sweep = max(least, min(most, self._tick / 4, shortest / 100))
        batch_size = _BATCH_CLOSED if closed_loop else _BATCH
        under_way, not_counted = errno.EINPROGRESS, config.warmup > 0
        table, longest = BUCKET_OF, _TABLE / 1e6
        late_counts, connect_counts, first_counts, total_counts = (
            tally.counts[tag] for tag in (LATENESS, "connect", "first_byte", "total")
        )
        next_sweep = clock()  # long before the first arrival too: a stop may come while it waits
        due = _NEVER if closed_loop else origin + next(arrivals, _NEVER)
        ready: Ready = ()

        while True:
            now = clock()
            if now >= next_sweep:
                next_sweep = now + sweep
                self._look_after(now)
                await trio.lowlevel.checkpoint()
                if self._stopping:
                    return
            if closed_loop:
                due = now if len(attempts) < limit and begin <= now < end else _NEVER

            # Arrivals that are due, a batch at most, so that replies do not wait for long.
            batch = batch_size
            while due <= now and batch:
                if due < now - lateness:
                    self._drop(due, now)
                    due = origin + next(arrivals, _NEVER)
                    continue
                if len(attempts) >= limit:
                    self._full_at = now
                    break
                batch -= 1
                before = clock()
                if counted := due >= origin:
                    totals.started += 1
                    if (late := before - due) < longest:
                        late_counts[table[int(late * 1e6)]] += 1
                    else:
                        late_counts[slow_bucket(int(late * 1e6))] += 1
                source, address, lines, said = next(the_ways)
                sock = None
                try:
                    sock = make(family, kind) if plain else there.open(source)
                except OSError as error:
                    there.fail_early(there.phase, error.errno or 0, counted=counted)
                    now = clock()
                if sock is not None:
                    if not plain:
                        before = clock()
                    number = sock.connect_ex(address)
                    now = clock()
                    if counted:
                        totals.connect_calls += 1
                        totals.connect_call_seconds += now - before
                    if number == under_way or not number:
                        attempt = spare.pop() if spare else Attempt()
                        attempt.sock = sock
                        attempt.intended = due
                        attempt.started = before
                        attempt.counted = counted
                        attempt.requests_left = more_requests
                        attempt.lines = lines
                        attempt.request = request = next(said)
                        descriptor = sock.fileno()
                        attempts[descriptor] = attempt
                        data = there.hello(attempt) if secure else request.data
                        try:
                            sent = sock.send(data)
                        except OSError as error:
                            attempt.state = connecting
                            there.send_refused(descriptor, attempt, error)
                        else:
                            attempt.state = connected
                            register(descriptor, readable)
                            if counted:
                                if (took := now - due) < longest:
                                    connect_counts[table[int(took * 1e6)]] += 1
                                else:
                                    connect_counts[slow_bucket(int(took * 1e6))] += 1
                            if sent != len(data) or mute:
                                there.sent(descriptor, attempt, data, sent)
                    else:
                        sock.close()
                        there.fail_early(Phase.CONNECT, number, counted=counted)
                if not closed_loop:
                    due = origin + next(arrivals, _NEVER)
                elif len(attempts) < limit and now < end:
                    due = now
                else:
                    due = _NEVER

            # Replies: look for them first while they come in numbers, else wait with nothing to do.
            nothing_due = batch and (due > now or len(attempts) >= limit)
            ready = poll(0, batch_size) if len(ready) > 1 or not nothing_due else ()
            if nothing_due and not ready:
                if due == _NEVER and not attempts and (not closed_loop or now >= end):
                    return
                until = next_sweep if due <= now or next_sweep < due else due
                seconds = until - clock()
                if seconds > _TRIO_WAIT and not attempts:
                    await self._sleep(seconds)
                elif seconds > 0:
                    ready = wait(max(_GATHER, seconds))
                else:
                    ready = poll(0, batch_size)

            # Connections that have something to say.
            for descriptor, _ in ready:
                attempt = attempts[descriptor]
                if attempt.state is not awaiting:
                    there.go_on(descriptor, attempt)
                    continue
                try:
                    data = attempt.sock.recv(receive)
                except OSError as error:
                    there.receive_failed(descriptor, attempt, error)
                    continue
                now = clock()
                request = attempt.request
                if simple and data == request.usual_reply and attempt.parser is None:
                    attempt.sock.close()  # which also takes it off the epoll descriptor
                    del attempts[descriptor]
                    spare.append(attempt)
                    if not_counted and not attempt.counted:
                        continue
                    totals.ok += 1
                    replies[request.usual] += 1
                    if (took := now - attempt.intended) < longest:
                        first_counts[table[int(took * 1e6)]] += 1
                    else:
                        first_counts[slow_bucket(int(took * 1e6))] += 1
                    if (took := clock() - attempt.intended) < longest:
                        total_counts[table[int(took * 1e6)]] += 1
                    else:
                        total_counts[slow_bucket(int(took * 1e6))] += 1
                else:
                    there.received(descriptor, attempt, data)

    def _look_after(self, now: float) -> None:
        """Do what is due at every sweep: end overdue attempts, and report at each tick."""
        self._connections.expire(now)
        if now >= self._next_tick:
            origin = self.tally.origin
            number = int((now - origin) / self._tick)
            self._next_tick = origin + (number + 1) * self._tick
            self._on_tick(number, now - origin)

    def _drop(self, due: float, now: float) -> None:
        """Count an arrival that is overdue."""
        # It may have waited for room until it was overdue, although there is room by now.
        full = len(self._connections.attempts) >= self._limit or due <= self._full_at
        self.tally.drop(due, now, "in_flight" if full else "overdue")

    async def _sleep(self, seconds: float) -> None:
        """Leave the thread to trio until a connection is ready, or nearly `seconds` have passed."""
        with trio.move_on_after(seconds - 0.001):
            await trio.lowlevel.wait_readable(self._connections.descriptor)
