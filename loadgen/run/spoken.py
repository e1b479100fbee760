"""Asks a server what it speaks, when a run's outcomes give reason to doubt that it is memcached's text.

Three questions at most, a second or two together, each on a connection of its own that ends with RST
and so takes no port: `version`, as any memcached answers it; a TLS handshake; a binary no-op.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterable
from contextlib import suppress

from loadgen.accounting.messages import Totals
from loadgen.config import RunConfig
from loadgen.diagnosis.spoken import BINARY, PASSWORD, TLS, UNSUITED
from loadgen.outcome import Outcome
from loadgen.protocols.sockets import RESET_ON_CLOSE

_PATIENCE = 0.5
"""Seconds for each step."""
_NO_OP = struct.pack("!BBHBBHIIQ", 0x80, 0x0A, 0, 0, 0, 0, 0, 0, 0)
_FIRST_BYTES: tuple[tuple[bytes, str], ...] = (
    (b"CLIENT_ERROR unauthenticated", PASSWORD),
    (b"\x15\x03", TLS),
    (b"\x81", BINARY),
    (b"HTTP/", "HTTP"),
    (b"SSH-", "SSH"),
    (b"-ERR", "Redis"),
    (b"-DENIED", "Redis"),
    (b"-NOAUTH", "Redis"),
    (b"220 ", "SMTP or FTP"),
    (b"220-", "SMTP or FTP"),
    (b"AMQP", "AMQP"),
    (b"* OK", "IMAP"),
    (b"+OK", "POP3"),
)


_TELLING = (Outcome.MALFORMED_REPLY, Outcome.SERVER_ERROR, Outcome.NOT_AUTHENTICATED)


def doubtful(config: RunConfig, totals: Totals) -> bool:
    """Return whether a run's outcomes give reason to ask: of a memcached, which is what is known."""
    if config.protocol != "memcached" or config.tls is not None:
        return False
    outcomes = totals.outcomes
    if any(outcomes.get(outcome) for outcome in _TELLING):
        return True
    return not totals.ok and any(outcomes.get(outcome) for outcome in UNSUITED)


def recognised(data: bytes) -> str:
    """Return the protocol that a server's first bytes belong to; empty for memcached's or unknown."""
    return next((name for start, name in _FIRST_BYTES if data.startswith(start)), "")


def ask(addresses: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Return what servers speak that do not speak memcached's text, by `host:port`.

    The first of them: a mix is unlikely, and each question costs time.
    """
    for address in addresses:
        with suppress(OSError):
            said = _exchange(address, b"version\r\n")
            if said.startswith(b"VERSION"):
                continue
            found = recognised(said) or _tls(address) or recognised(_exchange(address, _NO_OP))
            if found:
                return {f"{address[0]}:{address[1]}": found}
    return {}


def _connect(address: tuple[str, int]) -> socket.socket:
    made = socket.create_connection(address, timeout=_PATIENCE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    return made


def _exchange(address: tuple[str, int], question: bytes) -> bytes:
    """Return the first bytes of the answer; nothing where none comes."""
    with _connect(address) as connection, suppress(TimeoutError, ConnectionError):
        connection.sendall(question)
        return connection.recv(64)
    return b""


def _tls(address: tuple[str, int]) -> str:
    """Return TLS's name if the server speaks it: whether its certificate is good is no question."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with _connect(address) as connection:
        try:
            with context.wrap_socket(connection):
                return TLS
        except ssl.SSLError as error:
            # An alert is TLS too; other bytes are not.
            return TLS if "ALERT" in (error.reason or "") else ""
        except OSError:
            return ""
