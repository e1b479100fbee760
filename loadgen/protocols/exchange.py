"""A connection on which questions are asked and answers awaited, by a thread that has the time.

For what is not load: storing keys before a run, and a server's own figures. Whatever the server
does, an exchange ends at its deadline, and holds no more of an answer than the protocol's parser
wants (`loadgen.protocols.parsing`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from loadgen.protocols.parsing import MALFORMED, Parser, Reply
from loadgen.protocols.seam import Request
from loadgen.protocols.sockets import RESET_ON_CLOSE
from loadgen.protocols.tls import Client, Session, TlsFailure

_PIECE = 65_536


class ExchangeError(Exception):
    """No answer, or none that the protocol has. One line, which does not name the server."""


class GoneError(ExchangeError):
    """The server has ended the connection."""


class Exchange:
    """One connection; not for several threads.

    Args:
        address: of the server, resolved.
        timeout: seconds for the handshake.
        resets: whether it ends with a RST, which leaves no port in TIME_WAIT.
        client: for TLS; None where it is not spoken.

    Raises:
        ExchangeError: when it cannot be made.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout: float,
        resets: bool,
        client: Client | None = None,
    ) -> None:
        self._held = b""
        self._tls: Session | None = None
        deadline = time.monotonic() + timeout
        try:
            self._sock = socket.create_connection(address, timeout)
        except OSError as error:
            raise ExchangeError(_words(error)) from None
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if resets:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        if client is not None:
            try:
                self._tls = self._secured(client, deadline)
            except OSError as error:
                self.close()
                raise ExchangeError(_words(error)) from None
            except TlsFailure as failure:
                self.close()
                raise ExchangeError(f"TLS: {failure.detail}") from None

    def _secured(self, client: Client, deadline: float) -> Session:
        session = Session(client)
        self._sock.sendall(session.hello)
        while True:
            data = self._receive(deadline)
            if not data:
                raise ExchangeError("it closed the connection instead of a TLS handshake")
            done = session.handshake(data)
            self._sock.sendall(session.outgoing())
            if done:
                return session

    def _receive(self, deadline: float) -> bytes:
        """Return what came; nothing at the end of the stream.

        The deadline is that of all pieces together: a byte now and then does not put it off.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv(_PIECE)

    def ask(self, requests: Sequence[Request], *, timeout: float) -> list[Reply]:
        """Send all requests at once and return their replies, whatever they say.

        Args:
            requests: which all are answered.
            timeout: seconds for all of it together.

        Raises:
            GoneError: when the connection ends.
            ExchangeError: when the deadline passes, or a reply is not the protocol's.
        """
        deadline = time.monotonic() + timeout
        try:
            self._sock.settimeout(timeout)
            data = b"".join(request.data for request in requests)
            self._sock.sendall(data if self._tls is None else self._tls.encrypted(data))
            return [self._reply(request, deadline) for request in requests]
        except ConnectionError as error:
            raise GoneError(_words(error)) from None
        except OSError as error:
            raise ExchangeError(_words(error)) from None
        except TlsFailure as failure:
            raise ExchangeError(f"TLS: {failure.detail}") from None

    def _reply(self, request: Request, deadline: float) -> Reply:
        assert request.reply is not None  # see `ask`
        parser = Parser(request.reply())
        reply = parser.feed(self._held)
        while reply is None:
            data = self._receive(deadline)
            if not data:
                reply = parser.end()
                if reply is None:
                    raise GoneError("it closed the connection")
            else:
                said = data if self._tls is None else self._tls.decrypted(data)
                reply = parser.feed(said) if said else None
        self._held = parser.rest
        if reply is MALFORMED:
            raise ExchangeError("its answer is not the protocol's")
        return reply

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return error.strerror or str(error) or type(error).__name__
