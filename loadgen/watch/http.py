"""An HTTP server for one page, for whoever may reach it: bounded in time, memory and connections.

Prometheus' own server starts a thread for each connection and waits for each request for ever. On a
host that is watched because it is short of something, the watcher may not become a way to take more of
it. So one thread serves all: at most `CONNECTIONS` at once, `REQUEST` bytes of a request, `PATIENCE`
seconds from accept to the last byte of the answer, whatever the other side does; a connection beyond
that is closed. Every answer ends its connection.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

CONNECTIONS: Final = 16
REQUEST: Final = 8192
"""Bytes of a request's line and headers; a scraper sends a few hundred."""
PATIENCE: Final = 5.0
"""Seconds that a connection may take."""
_TICK: Final = 0.5

Answer = tuple[str, bytes]
"""Content type and body."""


@dataclass(slots=True)
class _Client:
    """One connection."""

    until: float
    request: bytearray = field(default_factory=bytearray)
    answer: memoryview | None = None


class Server:
    """Serves one path in a thread of its own.

    Args:
        host: address or name to listen on.
        port: 0 for any free one.
        path: that is served; `/` says where it is.
        answer: returns the page for what the client's Accept header says, in lower case.

    Raises:
        OSError: when the port cannot be had, or the name does not resolve.
        ValueError: when the name cannot be one.
    """

    def __init__(self, host: str, port: int, path: str, answer: Callable[[str], Answer]) -> None:
        self._path, self._answer = path, answer
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        except UnicodeError:
            raise ValueError(f"{host!r} is no name of a host") from None
        self._listener = socket.create_server((host, port), family=family, backlog=CONNECTIONS)
        self._listener.settimeout(0.0)
        self.port: int = self._listener.getsockname()[1]
        self._clients: dict[socket.socket, _Client] = {}
        self._stop, self._stopped = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select(_TICK if self._clients else None):
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._advance(key.fileobj)
            now = time.monotonic()
            for late in [sock for sock, client in self._clients.items() if client.until <= now]:
                self._drop(late)

    def _accept(self) -> None:
        with suppress(OSError):
            sock, _ = self._listener.accept()
            if len(self._clients) >= CONNECTIONS:
                # The oldest has had its time; a crowd of idle ones keeps nobody out for long.
                self._drop(min(self._clients, key=lambda known: self._clients[known].until))
            sock.settimeout(0.0)
            self._clients[sock] = _Client(time.monotonic() + PATIENCE)
            self._selector.register(sock, selectors.EVENT_READ)

    def _advance(self, sock: socket.socket) -> None:
        client = self._clients.get(sock)
        if client is None:
            return
        try:
            if client.answer is None:
                data = sock.recv(REQUEST)
                client.request += data
                if not data or len(client.request) > REQUEST:
                    self._drop(sock)
                    return
                if b"\r\n\r\n" not in client.request and b"\n\n" not in client.request:
                    return
                client.answer = memoryview(self._answered(bytes(client.request)))
                self._selector.modify(sock, selectors.EVENT_WRITE)
            client.answer = client.answer[sock.send(client.answer) :]
        except BlockingIOError:
            return
        except OSError:
            self._drop(sock)
            return
        if not client.answer:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            self._drop(sock)

    def _answered(self, request: bytes) -> bytes:
        lines = request.decode("latin-1").splitlines()
        words = lines[0].split() if lines else []
        if len(words) != 3 or words[0] not in {"GET", "HEAD"} or not words[2].startswith("HTTP/1."):
            return _response("400 Bad Request", "text/plain; charset=utf-8", b"GET only\n")
        path = words[1].split("?", 1)[0]
        if path not in {self._path, "/"}:
            body = f"nothing here; see {self._path}\n".encode()
            return _response("404 Not Found", "text/plain; charset=utf-8", body)
        if path == "/":
            kind, body = "text/plain; charset=utf-8", f"see {self._path}\n".encode()
        else:
            wanted = [
                line.partition(":")[2] for line in lines if line.lower().startswith("accept:")
            ]
            kind, body = self._answer(",".join(wanted).lower())
        return _response("200 OK", kind, body, head=words[0] == "HEAD")

    def _drop(self, sock: socket.socket) -> None:
        if self._clients.pop(sock, None) is not None:
            self._selector.unregister(sock)
            sock.close()

    def close(self) -> None:
        """Stop serving."""
        self._stop.send(b"x")
        self._thread.join()
        for sock in list(self._clients):
            self._drop(sock)
        self._selector.close()
        for sock in (self._listener, self._stop, self._stopped):
            sock.close()


def _response(status: str, kind: str, body: bytes, *, head: bool = False) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += ["Connection: close", "X-Content-Type-Options: nosniff", "", ""]
    return "\r\n".join(lines).encode() + (b"" if head else body)
