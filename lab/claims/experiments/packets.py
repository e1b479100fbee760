"""Segments on the wire: how many a connection takes, in which order, and who waits for whom."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from statistics import median
from typing import Final

from lab.claims.capture import FIN, Capture, Segment, before_close, round_trips
from lab.claims.connections import PORT, Service, serve
from lab.claims.experiments.base import ClaimExperiment
from lab.claims.experiments.time_wait import TIME_WAIT
from lab.claims.findings import Delayed, Packets, StraySegments
from lab.testbed.base import UntestableError
from lab.testbed.ground import Ground, sleep
from loadgen.protocols.sockets import RESET_ON_CLOSE
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER

RTT: Final = 0.04
"""Seconds: a thousand times the lab's own round trip, so that nothing else counts."""
_CONNECTIONS: Final = 20
_GET: Final = b"get churnlab\r\n"
_Manner = Callable[[socket.socket], None]


def _get(client: socket.socket) -> None:
    client.sendall(_GET)
    if not client.recv(4096):
        raise UntestableError("memcached closed the connection instead of answering")


def _get_quit(client: socket.socket) -> None:
    _get(client)
    client.sendall(b"quit\r\n")
    client.recv(1)


def _get_reset(client: socket.socket) -> None:
    _get(client)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def _nothing(client: socket.socket) -> None:
    del client


def _connections(ground: Ground, capture: Capture, manner: _Manner) -> list[list[Segment]]:
    """Open connections to memcached one at a time and return the segments of each."""

    def one() -> None:
        with socket.socket() as client:
            client.settimeout(2.0)
            client.connect((ground.servers[0], PORT))
            manner(client)

    found = []
    for _ in range(_CONNECTIONS):
        capture.take()
        ground.inside(ROLE_CLIENT, one)
        found.append(capture.connection())
    return found


def packets(ground: Ground) -> Packets:
    """Capture connections that end in each way."""
    capture = Capture(ground)
    _connections(ground, capture, _get)  # neighbours are resolved, memcached is warm
    capture.lost()
    gets = _connections(ground, capture, _get)
    others = {
        manner: [len(one) for one in _connections(ground, capture, manner)]
        for manner in (_get_quit, _get_reset, _nothing)
    }
    if lost := capture.lost():
        raise UntestableError(f"{lost} packets were lost by the capture: the machine is too busy")
    counts = [len(one) for one in gets]
    quits, resets, empties = (round(median(found)) for found in others.values())
    typical = min(gets, key=lambda one: abs(len(one) - median(counts)))
    order = [f"{'client' if one.sent else 'server'} {one}" for one in typical]
    waited = round(median(round_trips(before_close(one)) for one in gets))
    whole = round(median(round_trips(one) for one in gets))
    return Packets(
        connections=_CONNECTIONS,
        handshake=order[:3],
        client_close=round(median(counts)),
        client_close_range=(min(counts), max(counts)),
        server_close=quits,
        reset=resets,
        empty=empties,
        trips_waited=waited,
        trips_whole=whole,
        evidence=[
            f"a get, the client closing first: {', '.join(order)}",
            f"{_CONNECTIONS} such connections took {min(counts)} to {max(counts)} segments; with "
            f"quit {quits}, with RST {resets}, connect and close alone {empties}",
            f"the client waits for {waited} round trips up to the reply, and the last FIN comes "
            f"back with round trip {whole}",
        ],
    )


def delayed(ground: Ground) -> Delayed:
    """Time connections to memcached under an emulated round trip."""
    if ground.notes:
        raise UntestableError(ground.notes[0])
    connects, replies = [], []

    def one() -> None:
        with socket.socket() as client:
            client.settimeout(5.0)
            started = time.perf_counter()
            client.connect((ground.servers[0], PORT))
            connects.append(time.perf_counter() - started)
            _get(client)
            replies.append(time.perf_counter() - started)

    for _ in range(_CONNECTIONS):
        ground.inside(ROLE_CLIENT, one)
    connect, reply = median(connects), median(replies)
    return Delayed(
        rtt=RTT,
        connect=connect,
        reply=reply,
        evidence=[
            f"{_CONNECTIONS} connections under an emulated round trip of {RTT * 1e3:g} ms: "
            f"connect() took {connect * 1e3:.1f} ms, connect() to reply {reply * 1e3:.1f} ms"
        ],
    )


def _answer(capture: Capture, frame: bytes) -> str:
    """Send a server's frame again and return what the client answers."""
    sleep(0.6)  # answers of TIME_WAIT are limited to one in 500 ms (tcp_invalid_ratelimit)
    capture.take()
    capture.inject(frame)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        for segment in capture.take():
            if not segment.sent:
                return str(segment)
        time.sleep(0.001)
    return "nothing"


def stray(ground: Ground) -> StraySegments:
    """Repeat the server's last FIN, and old data, to a client in TIME_WAIT.

    The server's side has forgotten the connection and would answer the client's ACK with RST, which
    ends TIME_WAIT (RFC 1337); each segment therefore meets a TIME_WAIT socket of its own.
    """
    capture = Capture(ground, ROLE_SERVER)
    watch = ground.watch(ROLE_CLIENT)
    answers, survivors = [], []
    for number, wanted in enumerate(("fin", "data")):
        service = serve(ground, PORT + number)
        _exchange(ground, service)
        sleep(0.05)
        frames = [one.frame for one in capture.take() if one.sent and _is(one, wanted)]
        if not frames:
            raise UntestableError(f"the server's {wanted} was not captured")
        # What the server's side says to the client's answer must not reach it.
        ground.set(ROLE_CLIENT, {"net.ipv4.tcp_rfc1337": 1})
        before = watch.value(TIME_WAIT)
        answers.append(_answer(capture, frames[-1]))
        sleep(0.05)
        survivors.append(watch.value(TIME_WAIT) == before)
    return StraySegments(
        to_fin=answers[0],
        to_data=answers[1],
        survived=all(survivors),
        evidence=[
            f"the server's FIN, sent again to a client in TIME_WAIT, was answered with {answers[0]}",
            f"its data, sent again, with {answers[1]}",
            f"with tcp_rfc1337=1 the sockets {'stayed' if all(survivors) else 'did not stay'} in "
            "TIME_WAIT",
        ],
    )


def _is(segment: Segment, wanted: str) -> bool:
    return bool(segment.flags & FIN) if wanted == "fin" else segment.payload > 0


def _exchange(ground: Ground, service: Service) -> None:
    """One connection with a reply, which the client closes first."""

    def body() -> None:
        with socket.socket() as client:
            client.settimeout(2.0)
            client.connect((service.address, service.port))
            server, _ = service.listener.accept()
            with server:
                server.settimeout(2.0)
                server.sendall(b"END\r\n")
                client.recv(64)
                client.close()
                server.recv(1)

    ground.inside(ROLE_CLIENT, body)


EXPERIMENTS = (
    ClaimExperiment(name="packets", finding=Packets, run=packets, memcached=True),
    ClaimExperiment(name="delayed", finding=Delayed, run=delayed, memcached=True, rtt=RTT),
    ClaimExperiment(name="stray-segments", finding=StraySegments, run=stray),
)
