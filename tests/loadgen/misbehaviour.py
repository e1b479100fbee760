"""Every way in which a server can misbehave, as a table: phase × misbehaviour, with the right outcome.

The engine is driven against all of them at once in the suite; `python -m bench.hostile_servers` runs
`loadgen run` against each, and measures its time and its memory.
"""

from __future__ import annotations

import socket
import ssl
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import trustme

from loadgen.config import CloseMode
from loadgen.outcome import Outcome
from loadgen.protocols.sockets import RESET_ON_CLOSE
from tests.loadgen import hostile
from tests.loadgen.hostile import Behaviour, Hostile

HIT: Final = hostile.REPLY
_FLOOD: Final = b"A" * 16_384
_PAUSE: Final = 0.02
"""Seconds between two bytes of a drip: many within a deadline, and never the last one."""


def _awaited(sock: socket.socket) -> bool:
    """Read a request; return False when the client has gone."""
    data = b""
    while not data.endswith(b"\r\n"):
        more = sock.recv(4096)
        if not more:
            return False
        data = (data + more)[-2:]
    return True


def says(*parts: bytes, then: str = "waits", asked: bool = True) -> Behaviour:
    """Return a server that sends these parts.

    Args:
        parts: what is sent.
        then: `waits`, `closes`, `resets`, `floods` with bytes, `repeats` the last part for ever, `drips`
            it byte by byte in place of sending it.
        asked: whether a request is awaited.
    """
    first = b"".join(parts[:-1] if then == "drips" else parts)
    last = parts[-1] if parts else b""
    endless = {"floods": _FLOOD, "repeats": last * (len(_FLOOD) // max(1, len(last)))}.get(then)

    def treat(server: Hostile, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if asked and not _awaited(sock):
            return
        sock.sendall(first)
        while then == "drips" and not server.ended.wait(_PAUSE):
            sock.sendall(last)
        while endless and not server.ended.is_set():
            sock.sendall(endless)
        if then == "waits":
            server.wait(sock)
        elif then == "resets":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    return treat


def deaf(server: Hostile, _: socket.socket) -> None:
    """Accept, and read nothing."""
    server.ended.wait(30)


@cache
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        certificate = trustme.CA().issue_cert("hostile.example").private_key_and_cert_chain_pem
        path = Path(folder, "pair.pem")
        path.write_bytes(certificate.bytes())
        context.load_cert_chain(path)
    return context


def behind_tls(behaviour: Behaviour) -> Behaviour:
    """Return the same server after a handshake."""

    def treat(server: Hostile, sock: socket.socket) -> None:
        with _context().wrap_socket(sock, server_side=True, suppress_ragged_eofs=True) as inner:
            behaviour(server, inner)

    return treat


def _record(kind: int, size: int) -> bytes:
    """Return a TLS record (RFC 8446, 5.1): 21 is an alert, 22 a handshake, 23 data."""
    return struct.pack("!BHH", kind, 0x0303, size)


@dataclass(frozen=True)
class Case:
    """A server, how it is spoken to, and what comes of it."""

    phase: str
    """Where it misbehaves: `connect`, `handshake`, `request`, `reply` or `close`."""
    name: str
    scheme: str
    behaviour: Behaviour | None
    """None where nobody listens."""
    outcomes: frozenset[Outcome]
    """Each attempt ends in one of them; more than one where a RST may overtake what was sent."""
    close: CloseMode = "client"

    @property
    def id(self) -> str:
        """A name for reports."""
        return f"{self.scheme} {self.phase}: {self.name}"


Row = tuple[str, str, Behaviour | None, set[Outcome]]
_REFUSED, _RESET = Outcome.CONNECT_REFUSED, Outcome.RESET
_LATE, _NEVER_CLOSED = Outcome.REPLY_TIMEOUT, Outcome.CLOSE_TIMEOUT
_CUT, _BAD = Outcome.TRUNCATED_REPLY, Outcome.MALFORMED_REPLY
_ERROR, _TOO_MANY = Outcome.SERVER_ERROR, Outcome.TOO_MANY_CONNECTIONS
_HEAD: Final = b"HTTP/1.1 200 OK\r\n"

_MEMCACHED: Final[list[Row]] = [
    ("connect", "nobody listens", None, {_REFUSED}),
    ("connect", "resets at once", says(then="resets", asked=False), {_RESET}),
    ("connect", "closes at once", says(then="closes", asked=False), {_RESET, _CUT}),
    ("request", "reads nothing", deaf, {_LATE}),
    ("request", "floods unasked", says(then="floods", asked=False), {_BAD, _RESET}),
    ("request", "resets", says(then="resets"), {_RESET}),
    ("request", "closes", says(then="closes"), {_CUT}),
    ("reply", "silence", says(), {_LATE}),
    ("reply", "half, then silence", says(HIT[:12]), {_LATE}),
    ("reply", "half, then the end", says(HIT[:12], then="closes"), {_CUT}),
    ("reply", "half, then a reset", says(HIT[:12], then="resets"), {_RESET}),
    ("reply", "drips a byte at a time", says(b"VALUE churnlab:0 0 9999\r\n", b"x", then="drips"), {_LATE, _BAD}),
    ("reply", "a line without an end", says(b"VALUE ", then="floods"), {_BAD, _RESET}),
    ("reply", "a negative length", says(b"VALUE churnlab:0 0 -1\r\n"), {_BAD}),
    ("reply", "a value without a key", says(b"VALUE k 0 1\r\n"), {_BAD}),
    ("reply", "a length beyond an integer", says(b"VALUE churnlab:0 0 " + b"9" * 40 + b"\r\n"), {_BAD}),
    ("reply", "a value without an end", says(b"VALUE churnlab:0 0 999999999\r\n", then="floods"), {_BAD, _LATE, _RESET}),
    ("reply", "values for ever", says(HIT[:-5], then="repeats"), {_BAD, _RESET}),
    ("reply", "zeros", says(b"\0" * 100), {_BAD}),
    ("reply", "an error without an end", says(b"SERVER_ERROR ", then="floods"), {_BAD, _RESET}),
    ("reply", "an error full of escapes", says(b"SERVER_ERROR \x1b]0;X\x07\x1b[2J\r\n"), {_ERROR}),
    ("close", "never", says(HIT), {_NEVER_CLOSED}),
    ("close", "floods in its place", says(HIT, then="floods"), {_BAD, _RESET}),
    ("close", "drips in its place", says(HIT, b"x", then="drips"), {_BAD}),
]  # fmt: skip
_REDIS: Final[list[Row]] = [
    ("reply", "a line without an end", says(b"+", then="floods"), {_BAD, _RESET}),
    ("reply", "an error without an end", says(b"-ERR ", then="floods"), {_BAD, _RESET}),
    ("reply", "a negative length", says(b"$-5\r\n"), {_BAD}),
    ("reply", "a length beyond an integer", says(b"$" + b"9" * 40 + b"\r\n"), {_BAD}),
    ("reply", "a value without an end", says(b"$500000000\r\n", then="floods"), {_LATE}),
    ("reply", "a value cut short", says(b"$5\r\nabc", then="closes"), {_CUT}),
    ("reply", "an array of a million", says(b"*1000000\r\n", then="repeats"), {_BAD, _RESET}),
    ("reply", "too many clients", says(b"-ERR max number of clients reached\r\n", then="closes"), {_TOO_MANY}),
    ("reply", "loads for ever", says(b"-LOADING Redis is loading\r\n"), {Outcome.SERVER_LOADING}),
    ("reply", "wants a password", says(b"-NOAUTH Authentication required.\r\n"), {Outcome.NOT_AUTHENTICATED}),
    ("close", "never", says(b"$-1\r\n"), {_NEVER_CLOSED, _LATE}),
]  # fmt: skip
_HTTP: Final[list[Row]] = [
    ("reply", "headers without an end", says(_HEAD, b"X-A: b\r\n", then="repeats"), {_BAD, _RESET}),
    ("reply", "a header line without an end", says(_HEAD + b"X-A: ", then="floods"), {_BAD, _RESET}),
    ("reply", "drips its headers", says(_HEAD, b"x", then="drips"), {_LATE}),
    ("reply", "100 Continue for ever", says(b"HTTP/1.1 100 Continue\r\n\r\n", then="repeats"), {_BAD, _RESET}),
    ("reply", "a negative length", says(_HEAD + b"Content-Length: -1\r\n\r\n"), {_BAD}),
    ("reply", "two lengths", says(_HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), {_BAD}),
    ("reply", "a length beyond an integer", says(_HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n"), {_BAD}),
    ("reply", "a body cut short", says(_HEAD + b"Content-Length: 9\r\n\r\nabc", then="closes"), {_CUT}),
    ("reply", "a body without an end", says(_HEAD + b"\r\n", then="floods"), {_LATE}),
    ("reply", "a chunk without an end", says(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n", then="floods"), {_LATE}),
    ("reply", "chunks for ever", says(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", then="repeats"), {_LATE}),
    ("reply", "a chunk's size without an end", says(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0", then="repeats"), {_BAD, _RESET}),
    ("reply", "trailers for ever", says(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n", then="repeats"), {_BAD, _RESET}),
    ("reply", "a status that is none", says(b"HTTP/1.1 999 What\r\n\r\n"), {_BAD}),
    ("reply", "another version", says(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), {_BAD}),
    ("reply", "a redirection to itself", says(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), {Outcome.OK}),
]  # fmt: skip
_TLS: Final[list[Row]] = [
    ("handshake", "silence", says(asked=False), {Outcome.TLS_TIMEOUT}),
    ("handshake", "closes", says(then="closes", asked=False), {Outcome.TLS_FAILED, _RESET, _CUT}),
    ("handshake", "resets", says(then="resets", asked=False), {_RESET}),
    ("handshake", "another protocol", says(b"HTTP/1.1 400 Bad Request\r\n\r\n", asked=False), {Outcome.NOT_TLS}),
    ("handshake", "a flood", says(then="floods", asked=False), {Outcome.NOT_TLS, _RESET}),
    ("handshake", "an alert", says(_record(21, 2) + b"\x02\x28", asked=False), {Outcome.TLS_REFUSED}),
    ("handshake", "half a record", says(_record(22, 900) + b"\x02", asked=False), {Outcome.TLS_TIMEOUT}),
    ("handshake", "drips a record", says(_record(22, 900), b"\x02", then="drips", asked=False), {Outcome.TLS_TIMEOUT, Outcome.TLS_FAILED}),
    ("handshake", "records for ever", says(_record(22, 16_000) + b"\x02" * 16_000, then="repeats", asked=False), {Outcome.TLS_FAILED, _RESET}),
    ("handshake", "data before it", says(_record(23, 5) + b"hello", asked=False), {Outcome.TLS_FAILED}),
    ("reply", "silence", behind_tls(says()), {_LATE}),
    ("reply", "floods", behind_tls(says(b"VALUE ", then="floods")), {_BAD, _RESET}),
    ("reply", "half, then the end", behind_tls(says(HIT[:12], then="closes")), {_CUT, _RESET}),
    ("reply", "drips a byte at a time", behind_tls(says(b"VALUE churnlab:0 0 9999\r\n", b"x", then="drips")), {_LATE, _BAD}),
]  # fmt: skip

_HEALTHY: Final[dict[str, Behaviour]] = {
    "memcached": says(HIT, then="closes"),
    "redis": says(b"$4\r\nchur\r\n", then="closes"),
    "http": says(_HEAD + b"Content-Length: 4\r\n\r\nchur", then="closes"),
    "memcacheds": behind_tls(says(HIT, then="closes")),
}
"""What the others are compared with, by scheme."""


def _cases() -> Iterator[Case]:
    tables = {"memcached": _MEMCACHED, "redis": _REDIS, "http": _HTTP, "memcacheds": _TLS}
    for scheme, rows in tables.items():
        for phase, name, behaviour, outcomes in rows:
            close: CloseMode = "server" if phase == "close" else "client"
            yield Case(phase, name, scheme, behaviour, frozenset(outcomes), close)


CASES: Final = tuple(_cases())
HEALTHY: Final = tuple(
    Case("none", "healthy", scheme, behaviour, frozenset({Outcome.OK}))
    for scheme, behaviour in _HEALTHY.items()
)
