"""What is out of the ordinary in an attempt's life: errnos, EAGAIN, partial replies, deadlines.

The engine's loop (`loadgen.engine.loop`) handles the usual life of a connection itself, on local
variables; whatever else happens to one is handled here, where a call more or less costs nothing that
matters. The loop and this object share the attempts under way, and the tally.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from loadgen.config import RunConfig
from loadgen.engine.attempt import ON_DEADLINE, ON_END_OF_STREAM, PHASE, State
from loadgen.engine.lines import Lines, receive_size
from loadgen.engine.tally import Tally
from loadgen.outcome import Outcome, Phase, classify
from loadgen.protocols import tls
from loadgen.protocols.parsing import Memory, Parser, Reply
from loadgen.protocols.seam import Request, Script
from loadgen.protocols.sockets import (
    IP_BIND_ADDRESS_NO_PORT,
    IP_LOCAL_PORT_RANGE,
    RESET_ON_CLOSE,
    port_range,
)

NON_BLOCKING_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK

Make = Callable[[int, int], socket.SocketType]
"""Makes a socket of a family and a kind."""


class Attempt:
    """One connection under way. Objects are used again; all but two is set at each start."""

    __slots__ = (
        "counted",
        "intended",
        "lines",
        "parser",
        "request",
        "requests_left",
        "sock",
        "started",
        "state",
        "tls",
    )

    sock: socket.SocketType
    intended: float
    started: float
    state: State
    lines: Lines
    request: Request
    requests_left: int
    counted: bool
    parser: Parser | None
    """Of a reply that has begun and is not the usual one; None otherwise."""
    tls: tls.Session | None
    """None where it is not spoken, and before and after an attempt."""

    def __init__(self) -> None:
        self.parser = None
        self.tls = None


class Connections:
    """The attempts of one worker that are under way, and all that happens to them rarely.

    Args:
        config: the run's configuration.
        scripts: what is said to each target, in the order of the configuration's addresses.
        tally: counts what becomes of the attempts.
        make: the socket's class.
    """

    def __init__(
        self, config: RunConfig, scripts: Sequence[Script], tally: Tally, make: Make
    ) -> None:
        self.attempts: dict[int, Attempt] = {}
        """By descriptor, in the order of their start."""
        self.spare: list[Attempt] = []
        self.epoll = select.epoll()
        self.descriptor = self.epoll.fileno()  # opened first, so below select()'s limit of 1024
        self.phase = Phase.SOCKET
        """In which the last opening failed."""
        self.family = socket.AF_INET6 if ":" in config.addresses[0][0] else socket.AF_INET
        self.receive = receive_size(scripts)
        """Bytes that one recv() asks for."""
        self._tally = tally
        self._clock = tally.clock
        self._make = make
        self._timeout = config.timeout
        self._connect_timeout = min(config.connect_timeout, config.timeout)
        self._server_closes = config.close == "server"
        self._resets = config.close == "rst"
        self._requests_per_connection = config.requests_per_connection
        self._memory = Memory()
        self._bind_early = config.bind_early
        self._port_range = (
            None if config.local_port_range is None else port_range(*config.local_port_range)
        )

    def open(self, source: str) -> socket.SocketType:
        """Return a new non-blocking socket, bound to `source` where one is given.

        Raises:
            OSError: with `phase` saying in which step.
        """
        self.phase = Phase.SOCKET
        sock = self._make(self.family, NON_BLOCKING_STREAM)
        try:
            if self._port_range is not None:
                sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, self._port_range)
            if source:
                self.phase = Phase.BIND
                if not self._bind_early:
                    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
        except OSError:
            sock.close()
            raise
        return sock

    def send_refused(self, descriptor: int, attempt: Attempt, error: OSError) -> None:
        """The first send() failed: because the handshake is not over yet, or has failed."""
        if isinstance(error, BlockingIOError):
            self.epoll.register(descriptor, select.EPOLLOUT)
        else:
            self._fail(descriptor, attempt, error.errno or 0)

    def receive_failed(self, descriptor: int, attempt: Attempt, error: OSError) -> None:
        """A recv() failed: there was nothing yet, or the connection has failed."""
        if not isinstance(error, BlockingIOError):
            self._fail(descriptor, attempt, error.errno or 0)

    def hello(self, attempt: Attempt) -> bytes:
        """Begin TLS on a connection that is being made; return the first bytes to send."""
        client = attempt.lines.tls
        assert client is not None  # where it is not spoken, nobody asks
        session = attempt.tls = tls.Session(client)
        session.began = self._clock()
        return session.hello

    def go_on(self, descriptor: int, attempt: Attempt) -> None:
        """The kernel has news of an attempt that awaits a handshake's or the server's end."""
        try:
            if attempt.state is State.CONNECTING:
                self._connected(descriptor, attempt)
                return
            data = attempt.sock.recv(self.receive)
        except OSError as error:
            self.receive_failed(descriptor, attempt, error)
            return
        if not data:
            self._at_end_of_stream(descriptor, attempt)
        elif attempt.state is State.SECURING:
            self._secure(descriptor, attempt, data)
        elif plain := self._plain(descriptor, attempt, data):
            self._said_goodbye(descriptor, attempt, plain)

    def _connected(self, descriptor: int, attempt: Attempt) -> None:
        """The socket became writable: send, which also fetches the error of a failed handshake."""
        session = attempt.tls
        data = attempt.request.data if session is None else session.hello
        sent = attempt.sock.send(data)
        attempt.state = State.AWAITING_REPLY if session is None else State.SECURING
        if session is not None:
            session.began = self._clock()
        if attempt.counted:
            self._tally.record("connect", self._clock() - attempt.intended)
        self.epoll.modify(descriptor, select.EPOLLIN)
        if sent != len(data) or attempt.request.reply is None:
            self.sent(descriptor, attempt, data, sent)

    def sent(self, descriptor: int, attempt: Attempt, data: bytes, sent: int) -> None:
        """Finish a request that the socket's buffer did not take whole, or that gets no reply.

        A request larger than the send buffer (a `set` of a big value) goes out in a blocking
        manner, bounded by the deadline: rare, and simpler than a second write queue.
        """
        if sent != len(data):
            sock = attempt.sock
            try:
                sock.settimeout(max(0.001, attempt.started + self._timeout - self._clock()))
                sock.sendall(data[sent:])
                sock.settimeout(0)
            except TimeoutError:
                self._end(descriptor, attempt, Outcome.REPLY_TIMEOUT)
                return
            except OSError as error:
                self._fail(descriptor, attempt, error.errno or 0)
                return
        if attempt.state is State.AWAITING_REPLY and attempt.request.reply is None:
            self._answered(descriptor, attempt, attempt.request.usual)

    def _secure(self, descriptor: int, attempt: Attempt, data: bytes) -> None:
        """Go on with a TLS handshake; at its end send the first request."""
        session = attempt.tls
        assert session is not None  # see State.SECURING
        try:
            if not session.handshake(data):
                self._send_raw(descriptor, attempt, session.outgoing())
                return
            raw = session.outgoing() + session.encrypted(attempt.request.data)
        except tls.TlsFailure as failure:
            self._broken(descriptor, attempt, failure)
            return
        if attempt.counted:
            self._tally.secured(session, self._clock() - session.began)
        attempt.state = State.AWAITING_REPLY
        self._send_raw(descriptor, attempt, raw)

    def _plain(self, descriptor: int, attempt: Attempt, data: bytes) -> bytes:
        """Return what the server said; nothing, too, where TLS had something to say for itself."""
        session = attempt.tls
        if session is None:
            return data
        try:
            said = session.decrypted(data)
            raw = session.outgoing()
        except tls.TlsFailure as failure:
            self._broken(descriptor, attempt, failure)
            return b""
        if raw:
            self._send_raw(descriptor, attempt, raw)
        return said if descriptor in self.attempts else b""  # unless the sending has ended it

    def _broken(self, descriptor: int, attempt: Attempt, failure: tls.TlsFailure) -> None:
        """Close an attempt that TLS ended, and tell the server why if it can still be told."""
        assert attempt.tls is not None  # it raised the failure
        with suppress(OSError):
            attempt.sock.send(attempt.tls.outgoing())
        if attempt.counted:
            self._tally.error(failure.detail)
        self._end(descriptor, attempt, failure.outcome)

    def received(self, descriptor: int, attempt: Attempt, data: bytes) -> None:
        """Judge what came, with what had come before, and go on with the attempt accordingly."""
        if not data:
            self._at_end_of_stream(descriptor, attempt)
            return
        if attempt.tls is not None and not (data := self._plain(descriptor, attempt, data)):
            return
        parser, request = attempt.parser, attempt.request
        if parser is None:
            first = attempt.requests_left == self._requests_per_connection - 1
            if first and attempt.counted:
                self._tally.record("first_byte", self._clock() - attempt.intended)
            if data == request.usual_reply:
                self._answered(descriptor, attempt, request.usual)
                return
            assert request.reply is not None  # else the attempt ended when it was sent
            parser, reply = self._memory.read(request.reply, data)
            attempt.parser = parser
        else:
            reply = parser.feed(data)
        if reply is not None:
            attempt.parser = None
            self._judge(descriptor, attempt, reply, more=bool(parser and parser.rest))

    def _judge(self, descriptor: int, attempt: Attempt, reply: Reply, *, more: bool) -> None:
        """Go on after a complete reply; `more` came with it, and nobody had asked for that."""
        if reply.outcome is not Outcome.OK:
            if reply.detail and attempt.counted:
                self._tally.error(reply.detail)
            self._end(descriptor, attempt, reply.outcome)
        elif more:
            self._end(descriptor, attempt, Outcome.MALFORMED_REPLY)
        else:
            self._answered(descriptor, attempt, reply.name)

    def _answered(self, descriptor: int, attempt: Attempt, name: str) -> None:
        """Count a good reply; then the next request, the farewell or the end."""
        if attempt.counted:
            self._tally.reply(name)
        lines = attempt.lines
        if attempt.requests_left:
            attempt.requests_left -= 1
            attempt.request = next(lines.later if attempt.requests_left else lines.last)
            self._send(descriptor, attempt, attempt.request.data)
        elif self._server_closes:
            attempt.state = State.AWAITING_CLOSE
            if lines.farewell is not None:
                if lines.farewell.reply is not None:
                    attempt.parser = Parser(lines.farewell.reply())
                self._send(descriptor, attempt, lines.farewell.data)
        else:
            self._end(descriptor, attempt, Outcome.OK)

    def _said_goodbye(self, descriptor: int, attempt: Attempt, data: bytes) -> None:
        """The server said something although it was to close; some say one thing before they do."""
        parser = attempt.parser
        reply = None if parser is None else parser.feed(data)
        if parser is None or parser.rest:
            self._end(descriptor, attempt, Outcome.MALFORMED_REPLY)
        elif reply is not None and reply.outcome is not Outcome.OK:
            self._judge(descriptor, attempt, reply, more=False)

    def _at_end_of_stream(self, descriptor: int, attempt: Attempt) -> None:
        """The server closed: which is the end of some replies, and the untimely end of others."""
        outcome = ON_END_OF_STREAM[attempt.state]
        if attempt.parser is not None:
            reply = attempt.parser.end()
            if reply is None:
                outcome = Outcome.TRUNCATED_REPLY
            elif attempt.state is State.AWAITING_REPLY:
                attempt.parser = None
                self._judge_last(descriptor, attempt, reply)
                return
        self._end(descriptor, attempt, outcome)

    def _judge_last(self, descriptor: int, attempt: Attempt, reply: Reply) -> None:
        """Go on after a reply that ended with the stream: there can be no other request."""
        if reply.outcome is Outcome.OK and attempt.requests_left:
            self._end(descriptor, attempt, Outcome.TRUNCATED_REPLY)
            return
        if reply.outcome is Outcome.OK and attempt.counted:
            self._tally.reply(reply.name)
        if reply.detail and attempt.counted:
            self._tally.error(reply.detail)
        self._end(descriptor, attempt, reply.outcome)

    def _send(self, descriptor: int, attempt: Attempt, data: bytes) -> None:
        """Send a request, or a farewell."""
        if attempt.tls is not None:
            try:
                data = attempt.tls.encrypted(data)
            except tls.TlsFailure as failure:
                self._broken(descriptor, attempt, failure)
                return
        self._send_raw(descriptor, attempt, data)

    def _send_raw(self, descriptor: int, attempt: Attempt, data: bytes) -> None:
        try:
            sent = attempt.sock.send(data)
        except OSError as error:
            self._fail(descriptor, attempt, error.errno or 0)
            return
        if sent != len(data) or attempt.request.reply is None:
            self.sent(descriptor, attempt, data, sent)

    def _end(self, descriptor: int, attempt: Attempt, outcome: Outcome) -> None:
        """Close an attempt and count its outcome."""
        if self._resets and outcome is Outcome.OK:
            attempt.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        attempt.sock.close()
        del self.attempts[descriptor]
        attempt.parser = None
        if attempt.tls is not None:
            if outcome is Outcome.OK:
                attempt.tls.keep()
            if attempt.counted:
                self._tally.totals.tls_cpu += attempt.tls.cpu
            attempt.tls = None
        self.spare.append(attempt)
        if not attempt.counted:
            return
        if outcome is Outcome.OK:
            self._tally.success(attempt.intended)
        else:
            self._tally.failure(outcome)

    def _fail(self, descriptor: int, attempt: Attempt, number: int) -> None:
        """Close an attempt that an errno ended."""
        if attempt.counted:
            self._tally.errno(number)
        self._end(descriptor, attempt, classify(PHASE[attempt.state], number))

    def fail_early(self, phase: Phase, number: int, *, counted: bool) -> None:
        """Count an attempt that ended before it had a connection to wait for."""
        if counted:
            self._tally.errno(number)
            self._tally.failure(classify(phase, number))

    # --- time -------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """End the attempts whose deadline has passed."""
        connect_limit = now - self._connect_timeout
        limit = now - self._timeout
        overdue = []
        for descriptor, attempt in self.attempts.items():
            if attempt.started > connect_limit:
                break
            if attempt.started <= limit or attempt.state is State.CONNECTING:
                overdue.append((descriptor, attempt))
        for descriptor, attempt in overdue:
            self._end(descriptor, attempt, ON_DEADLINE[attempt.state])

    def abandon(self) -> None:
        """Close what is still under way after a stop; it stays in flight in the totals."""
        for attempt in self.attempts.values():
            attempt.sock.close()
        self.attempts.clear()
        with suppress(OSError):
            self.epoll.close()
