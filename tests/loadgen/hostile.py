"""A server that the tests own and that misbehaves on purpose: one thread a connection.

A behaviour is a function of the server and an accepted socket; when it returns, the socket is
closed. Whatever waits, waits on `server.ended`, so that a test's end ends it at once.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from loadgen.protocols.sockets import RESET_ON_CLOSE

REPLY = b"VALUE churnlab:0 0 4\r\nchur\r\nEND\r\n"
"""The hit on the only key of a key space of one, with a value of four bytes."""
GARBAGE = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_PATIENCE = 30.0

Behaviour = Callable[["Hostile", socket.socket], None]


class Hostile:
    """A listener on loopback whose connections all get the same treatment; a context manager.

    Args:
        behaviour: what happens to each connection.
        port: of the listener; a free one if 0.
    """

    def __init__(self, behaviour: Behaviour, *, port: int = 0) -> None:
        self.ended = threading.Event()
        self.peers: list[str] = []
        """Addresses that connected, in order."""
        self._behaviour = behaviour
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(1024)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._accept, name="hostile")]

    @property
    def target(self) -> str:
        """HOST:PORT, as a user writes it."""
        return f"{self.address[0]}:{self.address[1]}"

    def __enter__(self) -> Self:
        """Begin to accept."""
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all connections and threads."""
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # which wakes accept()
        for thread in self._threads:
            thread.join(_PATIENCE)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, peer = self._listener.accept()
                self.peers.append(peer[0])
                thread = threading.Thread(target=self._treat, args=(sock,), name="hostile")
                self._threads.append(thread)
                thread.start()

    def _treat(self, sock: socket.socket) -> None:
        sock.settimeout(_PATIENCE)
        with sock, suppress(OSError):
            self._behaviour(self, sock)

    def wait(self, sock: socket.socket) -> None:
        """Say nothing more until the peer closes or the test ends."""
        sock.settimeout(0.02)
        while not self.ended.is_set():
            try:
                if not sock.recv(4096):
                    return
            except TimeoutError:
                continue


def _request(sock: socket.socket) -> bool:
    """Read one request; return False at the end of the stream."""
    data = b""
    while not data.endswith(b"\r\n"):
        more = sock.recv(4096)
        if not more:
            return False
        data += more
    return True


def silent(server: Hostile, sock: socket.socket) -> None:
    """Accept, and never say a word."""
    server.wait(sock)


def answering(reply: bytes = REPLY, *, closes: bool = False, after: float = 0.0) -> Behaviour:
    """Answer every request with `reply`; with `closes`, close after the first."""

    def treat(server: Hostile, sock: socket.socket) -> None:
        while _request(sock):
            server.ended.wait(after)
            sock.sendall(reply)
            if closes:
                return

    return treat


def in_parts(*parts: bytes, pause: float = 0.0) -> Behaviour:
    """Answer the first request piece by piece, then stay silent."""

    def treat(server: Hostile, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _request(sock)
        for number, part in enumerate(parts):
            if number:
                server.ended.wait(pause)
            sock.sendall(part)
        server.wait(sock)

    return treat


single_bytes = partial(in_parts, *(bytes([byte]) for byte in REPLY))()


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def resetting_at_once(_: Hostile, sock: socket.socket) -> None:
    """RST right after the handshake."""
    _reset(sock)


def resetting_after_request(_: Hostile, sock: socket.socket) -> None:
    """RST in place of a reply."""
    _request(sock)
    _reset(sock)


def resetting_in_reply(_: Hostile, sock: socket.socket) -> None:
    """Half a reply, then RST."""
    _request(sock)
    sock.sendall(REPLY[:10])
    _reset(sock)


def closing_without_a_word(_: Hostile, sock: socket.socket) -> None:
    """FIN in place of a reply."""
    _request(sock)


class Deaf:
    """A listener whose queue is full: SYNs that reach it are dropped; a context manager.

    The kernel drops a SYN when more connections wait to be accepted than the backlog allows, so
    a handshake with this address is never answered (listen(2), tcp(7)).
    """

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._waiting: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Fill the queue."""
        while True:
            sock = socket.socket()
            self._waiting.append(sock)
            sock.settimeout(0.2)
            try:
                sock.connect(self.address)
            except TimeoutError:
                return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close everything."""
        for sock in (*self._waiting, self._listener):
            sock.close()
