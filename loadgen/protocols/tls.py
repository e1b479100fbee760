"""TLS over connections that somebody else reads and writes: bytes in, bytes out, through memory BIOs.

A handshake is CPU first of all, some 0.2 ms of the client's and more of the server's, unless a session
is resumed; and it fails for reasons of its own: a certificate that has expired, or is another host's,
or that nobody known has signed. These are outcomes, told apart by OpenSSL's verification codes
(openssl-verification-options(1)), because each has another remedy.

TIME_WAIT is not TLS's affair, and yet: a server that answers the client's FIN with its own
close_notify sends data to a socket that is closed. The client's kernel answers with a RST, and no
TIME_WAIT socket is left (RFC 9293, 3.10.7). memcached and Redis do so, nginx does not
(docs/protocols.md). Like most clients of short connections, this one closes without a close_notify of
its own.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.config import RunConfig, TlsOptions
from loadgen.outcome import Outcome

_PIECE = 65_536
_EXPIRED = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_UNKNOWN = frozenset({2, 18, 19, 20, 21})
"""Issuer not found, or not the leaf's; self-signed, alone or at the end of a chain."""
_OTHER_NAME = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})
"""Reasons for which OpenSSL gives up on what is not a first record."""
_LONGEST_DETAIL = 80


class TlsFailure(Exception):  # noqa: N818 - it carries an outcome; TlsError would be ssl's
    """A handshake or a connection that TLS ended.

    Args:
        outcome: of the attempt.
        detail: OpenSSL's own word for it.
    """

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


def _failure(error: ssl.SSLError) -> TlsFailure:
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        outcome = (
            Outcome.TLS_CERTIFICATE_EXPIRED
            if code in _EXPIRED
            else Outcome.TLS_UNKNOWN_CA
            if code in _UNKNOWN
            else Outcome.TLS_WRONG_NAME
            if code in _OTHER_NAME
            else Outcome.TLS_FAILED
        )
        # A mismatch's message names the host and everything that the certificate is for.
        detail = (
            "certificate of another name"
            if outcome is Outcome.TLS_WRONG_NAME
            else str(error.verify_message)
        )
        return TlsFailure(outcome, detail[:_LONGEST_DETAIL])
    reason = error.reason or "UNKNOWN"
    if reason in _NO_TLS:
        return TlsFailure(Outcome.NOT_TLS, reason)
    outcome = Outcome.TLS_REFUSED if "_ALERT_" in reason else Outcome.TLS_FAILED
    return TlsFailure(outcome, reason[:_LONGEST_DETAIL])


def context_of(options: TlsOptions) -> ssl.SSLContext:
    """Return what all connections of a process share.

    Raises:
        ValueError: when the CA's file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca or None)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"--tls-ca: cannot use {options.ca}: {reason}") from None
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def is_name(text: str) -> bool:
    """Return whether `text` can be asked for as a server's name."""
    if not text.isascii() or "\0" in text:
        return False
    try:
        ssl.create_default_context().wrap_bio(
            ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=text
        )
    except ValueError:  # UnicodeError is one
        return False
    return True


@dataclass(slots=True)
class Client:
    """What a process needs for TLS with one target."""

    context: ssl.SSLContext
    name: str
    """That its certificate must have."""
    resume: bool
    session: ssl.SSLSession | None = None
    """To be resumed: that of an earlier connection."""


def clients(config: RunConfig) -> Sequence[Client | None]:
    """Return one for each target of the run, in their order; None for each without TLS."""
    targets = config.parsed_targets()
    if config.tls is None:
        return [None] * len(targets)
    context = context_of(config.tls)
    return [
        Client(context, config.tls.name or target.host, config.tls.resume) for target in targets
    ]


class Session:
    """TLS on one connection.

    Args:
        client: of the target; its session is taken up if there is one.
    """

    __slots__ = ("_client", "_incoming", "_object", "_outgoing", "began", "cpu", "hello")

    def __init__(self, client: Client) -> None:
        before = time.thread_time()
        self._client = client
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = client.context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_hostname=client.name,
            session=client.session if client.resume else None,
        )
        self.cpu = 0.0
        """Seconds of this thread's CPU that the handshake has taken so far."""
        self.began = 0.0
        """When the connection was there; the caller's clock."""
        self._shake()
        self.hello = self.outgoing()
        """The first bytes to send."""
        self.cpu = time.thread_time() - before

    @property
    def resumed(self) -> bool:
        """Whether an earlier session was taken up: known after the handshake."""
        return bool(self._object.session_reused)

    def outgoing(self) -> bytes:
        """Return what is to be sent now; nothing when nothing is."""
        return self._outgoing.read()

    def _shake(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def handshake(self, data: bytes) -> bool:
        """Take what came; return whether the handshake is over. See `outgoing` either way.

        Raises:
            TlsFailure: when there will be no connection; `outgoing` tells the server why.
        """
        before = time.thread_time()
        self._incoming.write(data)
        try:
            return self._shake()
        except ssl.SSLError as error:
            raise _failure(error) from None
        finally:
            self.cpu += time.thread_time() - before

    def encrypted(self, data: bytes) -> bytes:
        """Return what carries `data` to the server, and whatever else is to be sent.

        Raises:
            TlsFailure: when the server has ended the connection before.
        """
        try:
            if data:
                self._object.write(data)
        except ssl.SSLError as error:
            raise _failure(error) from None
        return self.outgoing()

    def decrypted(self, data: bytes) -> bytes:
        """Return what the server said in `data`, and in what came before; perhaps nothing.

        Nothing too after a close_notify: the end of the stream is the TCP connection's.

        Raises:
            TlsFailure: when it is not the server's, or an alert.
        """
        self._incoming.write(data)
        said = []
        try:
            while piece := self._object.read(_PIECE):
                said.append(piece)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as error:
            raise _failure(error) from None
        return b"".join(said)

    def keep(self) -> None:
        """Leave the session to the next connections, unless there is one that they can resume.

        It serves until a server no longer takes it: asking for a session costs 7 kB each time, which
        CPython never gives back (it duplicates the session and forgets the duplicate, as of 3.11).
        """
        if self._client.resume and not self._object.session_reused:
            self._client.session = self._object.session
