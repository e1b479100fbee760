"""What is out of the ordinary in an attempt's life: errnos, EAGAIN, partial replies, deadlines.

The engine's loop (`loadgen.engine.loop`) handles the usual life of a connection itself, on local
variables; whatever else happens to one is handled here, where a call more or less costs nothing that
matters. The two share their state as one object.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle, product

from loadgen.config import RunConfig
from loadgen.engine import protocol
from loadgen.engine.attempt import ON_DEADLINE, ON_END_OF_STREAM, ON_REPLY, PHASE, State
from loadgen.engine.protocol import Reply, Request
from loadgen.engine.sockets import (
    IP_BIND_ADDRESS_NO_PORT,
    IP_LOCAL_PORT_RANGE,
    RESET_ON_CLOSE,
    port_range,
)
from loadgen.latency import BUCKET_OF, BUCKETS, slow_bucket, sparse
from loadgen.messages import TAGS, Totals
from loadgen.outcome import Outcome, Phase, classify, errno_name

NON_BLOCKING_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK

_REQUESTS = 16_384
_TABLE = len(BUCKET_OF)


class Attempt:
    """One connection under way. Objects are used again; all but `buffer` is set at each start."""

    __slots__ = (
        "buffer",
        "counted",
        "intended",
        "request",
        "requests_left",
        "sock",
        "started",
        "state",
    )

    sock: socket.SocketType
    intended: float
    started: float
    state: State
    request: Request
    requests_left: int
    buffer: bytes
    counted: bool

    def __init__(self) -> None:
        self.buffer = b""


class Connections:
    """The attempts of one worker: their state, their counts, and all that happens to them rarely."""

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.totals = Totals()
        self.interrupted = False
        self._clock = clock
        self._arrivals = arrivals
        self._on_tick = on_tick
        self._tick = tick
        self._closed_loop = config.closed_loop
        self._limit = concurrency if config.closed_loop else max_in_flight
        self._max_lateness = config.max_lateness
        self._timeout = config.timeout
        self._connect_timeout = min(config.connect_timeout, config.timeout)
        self._duration = config.duration
        self._warmup = config.warmup
        self._server_closes = config.close == "server"
        self._resets = config.close == "rst"
        self._requests_per_connection = config.requests_per_connection
        self._bind_early = config.bind_early
        self._port_range = (
            None if config.local_port_range is None else port_range(*config.local_port_range)
        )
        self._sources = config.source_addresses or [""]
        self._pairs = cycle(list(product(self._sources, config.addresses)))
        chosen = protocol.requests(
            config.gets, config.key_space, config.value_size, count=_REQUESTS, seed=seed
        )
        self._requests = cycle(chosen)
        # A little more than the usual reply, so that one byte too many is seen; and no more, since
        # CPython has an allocator of its own for what is smaller than 512 bytes.
        self._receive = min(65_536, 64 + max(len(request.usual_reply) for request in chosen))
        self._family = socket.AF_INET6 if ":" in config.addresses[0][0] else socket.AF_INET
        self._epoll = select.epoll()
        self._descriptor = self._epoll.fileno()  # opened first, so below select()'s limit of 1024
        self._attempts: dict[int, Attempt] = {}  # by descriptor, in the order of their start
        self._spare: list[Attempt] = []
        self._counts = {tag: [0] * BUCKETS for tag in TAGS}
        self._replies = dict.fromkeys(Reply, 0)
        self._origin = 0.0
        self._next_tick = 0.0
        self._full_at = float("-inf")  # when an arrival last found no room
        self._stopping = False
        self._phase = Phase.SOCKET

    @property
    def in_flight(self) -> int:
        """Attempts of the counted run that are under way."""
        return self.totals.started - self.totals.ok - self.totals.failed

    @property
    def elapsed(self) -> float:
        """Seconds since the counted run's start."""
        return self._clock() - self._origin

    def account(self) -> Totals:
        """Return the totals as they stand."""
        totals = self.totals
        totals.scheduled = totals.started + totals.dropped
        totals.unfinished = self.in_flight
        totals.replies = {reply.value: count for reply, count in self._replies.items() if count}
        return totals

    def stop(self) -> None:
        """Start nothing more; what is under way becomes `unfinished` at the next round."""
        self._stopping = True

    def take_histograms(self) -> dict[str, dict[int, int]]:
        """Return what was counted since the last call, by tag, and begin anew."""
        taken = {tag: sparse(counts) for tag, counts in self._counts.items()}
        for tag, counts in taken.items():
            dense = self._counts[tag]
            for index in counts:
                dense[index] = 0
        return taken

    def _drop(self, due: float, now: float) -> None:
        if due < self._origin:
            return
        totals = self.totals
        totals.dropped += 1
        # It may have waited for room until it was overdue, although there is room by now.
        full = len(self._attempts) >= self._limit or due <= self._full_at
        reason = "in_flight" if full else "overdue"
        totals.drops[reason] = totals.drops.get(reason, 0) + 1
        self._note_failure(now)

    def _note_failure(self, now: float) -> None:
        totals = self.totals
        if totals.first_failure_at is None:
            totals.first_failure_at = now - self._origin
            totals.started_before_first_failure = totals.started

    def _open(self, source: str) -> socket.SocketType:
        """Return a new non-blocking socket, bound to `source` where one is given.

        Raises:
            OSError: with `_phase` saying in which step.
        """
        self._phase = Phase.SOCKET
        # SocketType is the C class: the Python class on top of it would only cost time. The flag
        # makes the socket non-blocking without a call of its own.
        sock = socket.SocketType(self._family, NON_BLOCKING_STREAM)
        try:
            if self._port_range is not None:
                sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, self._port_range)
            if source:
                self._phase = Phase.BIND
                if not self._bind_early:
                    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
        except OSError:
            sock.close()
            raise
        return sock

    def _send_refused(self, descriptor: int, attempt: Attempt, error: OSError) -> None:
        """The first send() failed: because the handshake is not over yet, or has failed."""
        if isinstance(error, BlockingIOError):
            self._epoll.register(descriptor, select.EPOLLOUT)
        else:
            self._fail(descriptor, attempt, error.errno or 0)

    def _receive_failed(self, descriptor: int, attempt: Attempt, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self._fail(descriptor, attempt, error.errno or 0)

    def _go_on(self, descriptor: int, attempt: Attempt) -> None:
        """The kernel has news of an attempt that awaits its handshake's or the server's end."""
        try:
            if attempt.state is State.CONNECTING:
                self._connected(descriptor, attempt)
                return
            data = attempt.sock.recv(self._receive)
        except OSError as error:
            self._receive_failed(descriptor, attempt, error)
            return
        outcome = Outcome.MALFORMED_REPLY if data else ON_END_OF_STREAM[attempt.state]
        self._end(descriptor, attempt, outcome)

    def _connected(self, descriptor: int, attempt: Attempt) -> None:
        """The socket became writable: send, which also fetches the error of a failed handshake."""
        sent = attempt.sock.send(attempt.request.data)
        attempt.state = State.AWAITING_REPLY
        if attempt.counted:
            self._record("connect", self._clock() - attempt.intended)
        self._epoll.modify(descriptor, select.EPOLLIN)
        if sent != len(attempt.request.data):
            self._send_rest(descriptor, attempt, sent)

    def _send_rest(self, descriptor: int, attempt: Attempt, sent: int) -> None:
        """Finish a request that the socket's buffer did not take whole.

        A request larger than the send buffer (a `set` of a big value) goes out in a blocking
        manner, bounded by the deadline: rare, and simpler than a second write queue.
        """
        sock = attempt.sock
        try:
            sock.settimeout(max(0.001, attempt.started + self._timeout - self._clock()))
            sock.sendall(attempt.request.data[sent:])
            sock.settimeout(0)
        except TimeoutError:
            self._end(descriptor, attempt, Outcome.REPLY_TIMEOUT)
        except OSError as error:
            self._fail(descriptor, attempt, error.errno or 0)

    def _received(self, descriptor: int, attempt: Attempt, data: bytes) -> None:
        """Judge what came, with what had come before, and go on with the attempt accordingly."""
        if not data:
            self._end(descriptor, attempt, ON_END_OF_STREAM[attempt.state])
            return
        first = not attempt.buffer and attempt.requests_left == self._requests_per_connection - 1
        if first and attempt.counted:
            self._record("first_byte", self._clock() - attempt.intended)
        attempt.buffer += data
        reply = protocol.parse_reply(attempt.request, attempt.buffer)
        if reply is Reply.INCOMPLETE:
            return
        attempt.buffer = b""
        outcome = ON_REPLY[reply]
        if outcome is not Outcome.OK:
            self._end(descriptor, attempt, outcome)
            return
        if attempt.counted:
            self._replies[reply] += 1
        if attempt.requests_left:
            attempt.requests_left -= 1
            attempt.request = next(self._requests)
            self._send(descriptor, attempt, attempt.request.data)
        elif self._server_closes:
            attempt.state = State.AWAITING_CLOSE
            self._send(descriptor, attempt, protocol.QUIT)
        else:
            self._end(descriptor, attempt, Outcome.OK)

    def _send(self, descriptor: int, attempt: Attempt, data: bytes) -> None:
        try:
            sent = attempt.sock.send(data)
        except OSError as error:
            self._fail(descriptor, attempt, error.errno or 0)
            return
        if sent != len(data):
            self._send_rest(descriptor, attempt, sent)

    def _end(self, descriptor: int, attempt: Attempt, outcome: Outcome) -> None:
        """Close an attempt and count its outcome."""
        if self._resets and outcome is Outcome.OK:
            attempt.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        attempt.sock.close()
        del self._attempts[descriptor]
        attempt.buffer = b""
        self._spare.append(attempt)
        if not attempt.counted:
            return
        if outcome is Outcome.OK:
            self.totals.ok += 1
            self._record("total", self._clock() - attempt.intended)
        else:
            self._count_failure(outcome)

    def _fail(self, descriptor: int, attempt: Attempt, error_number: int) -> None:
        """Close an attempt that an errno ended."""
        if attempt.counted:
            self._count_error(error_number)
        self._end(descriptor, attempt, classify(PHASE[attempt.state], error_number))

    def _fail_early(self, phase: Phase, error_number: int, *, counted: bool) -> None:
        """Count an attempt that ended before it had a connection to wait for."""
        if counted:
            self._count_error(error_number)
            self._count_failure(classify(phase, error_number))

    def _count_error(self, error_number: int) -> None:
        name = errno_name(error_number)
        self.totals.errors[name] = self.totals.errors.get(name, 0) + 1

    def _count_failure(self, outcome: Outcome) -> None:
        totals = self.totals
        totals.failed += 1
        totals.outcomes[outcome] = totals.outcomes.get(outcome, 0) + 1
        self._note_failure(self._clock())

    def _record(self, tag: str, seconds: float) -> None:
        microseconds = int(seconds * 1e6)
        if 0 <= microseconds < _TABLE:
            self._counts[tag][BUCKET_OF[microseconds]] += 1
        else:
            self._counts[tag][slow_bucket(microseconds)] += 1

    # --- time -------------------------------------------------------------------------------

    def _expire(self, now: float) -> None:
        """End the attempts whose deadline has passed."""
        connect_limit = now - self._connect_timeout
        limit = now - self._timeout
        if not self._attempts:
            return
        overdue = []
        for descriptor, attempt in self._attempts.items():
            if attempt.started > connect_limit:
                break
            if attempt.started <= limit or attempt.state is State.CONNECTING:
                overdue.append((descriptor, attempt))
        for descriptor, attempt in overdue:
            self._end(descriptor, attempt, ON_DEADLINE[attempt.state])

    def _abandon(self) -> None:
        """Close what is still under way after a stop; it stays in flight in the totals."""
        for attempt in self._attempts.values():
            attempt.sock.close()
        self._attempts.clear()
        with suppress(OSError):
            self._epoll.close()
