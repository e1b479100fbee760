"""How an attempt ends: the outcomes, and the one table that turns an errno into one of them.

An errno alone does not name an outcome; the phase it came in does too. The kernel answers a
connect() that finds no free port with EADDRNOTAVAIL, while bind(address, 0) without
IP_BIND_ADDRESS_NO_PORT reports the same shortage as EADDRINUSE (bind(2), ip(7)). A peer's RST is
"refused" while connecting and "reset" afterwards.

An outcome says what happened. *Why* it happened is a cause, and only the kernel's counters can
tell: that is `loadgen.diagnosis`.
"""

from __future__ import annotations

import errno
from enum import StrEnum


class Phase(StrEnum):
    """Where in its life an attempt was when the kernel reported an error."""

    SOCKET = "socket"
    BIND = "bind"
    CONNECT = "connect"
    HANDSHAKE = "handshake"
    """TLS's, after TCP's."""
    EXCHANGE = "exchange"


class Outcome(StrEnum):
    """How one attempt ended. Every attempt ends in exactly one, or is `unfinished`."""

    OK = "ok"
    LOCAL_PORT_EXHAUSTED = "local_port_exhausted"
    BIND_PORT_EXHAUSTED = "bind_port_exhausted"
    FD_EXHAUSTED = "fd_exhausted"
    NO_MEMORY = "no_memory"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_REFUSED = "connect_refused"
    UNREACHABLE = "unreachable"
    DENIED = "denied"
    BAD_SOURCE = "bad_source"
    RESET = "reset"
    REPLY_TIMEOUT = "reply_timeout"
    CLOSE_TIMEOUT = "close_timeout"
    TRUNCATED_REPLY = "truncated_reply"
    MALFORMED_REPLY = "malformed_reply"
    SERVER_ERROR = "server_error"
    TLS_CERTIFICATE_EXPIRED = "tls_certificate_expired"
    TLS_WRONG_NAME = "tls_wrong_name"
    TLS_UNKNOWN_CA = "tls_unknown_ca"
    TLS_REFUSED = "tls_refused"
    TLS_FAILED = "tls_failed"
    TLS_TIMEOUT = "tls_timeout"
    NOT_TLS = "not_tls"
    REQUEST_REFUSED = "request_refused"
    NOT_AUTHENTICATED = "not_authenticated"
    SERVER_LOADING = "server_loading"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    OTHER_ERROR = "other_error"


DESCRIPTIONS: dict[Outcome, str] = {
    Outcome.OK: "request answered, connection closed as asked",
    Outcome.LOCAL_PORT_EXHAUSTED: "connect() found no free local port (EADDRNOTAVAIL)",
    Outcome.BIND_PORT_EXHAUSTED: "bind() found no free local port (EADDRINUSE)",
    Outcome.FD_EXHAUSTED: "the client had no file descriptor left (EMFILE, ENFILE)",
    Outcome.NO_MEMORY: "the kernel had no memory for the socket (ENOMEM, ENOBUFS)",
    Outcome.CONNECT_TIMEOUT: "no answer to the SYN before the deadline",
    Outcome.CONNECT_REFUSED: "the SYN was answered with RST or 'port unreachable'",
    Outcome.UNREACHABLE: "no route, or a router or firewall said unreachable",
    Outcome.DENIED: "a local rule forbade the connection (EPERM, EACCES)",
    Outcome.BAD_SOURCE: "the source address does not belong to this host",
    Outcome.RESET: "the server reset an established connection",
    Outcome.REPLY_TIMEOUT: "connected, but no complete reply before the deadline",
    Outcome.CLOSE_TIMEOUT: "answered, but the server did not close before the deadline",
    Outcome.TRUNCATED_REPLY: "the server closed in the middle of a reply",
    Outcome.MALFORMED_REPLY: "the reply was not what the protocol allows",
    Outcome.SERVER_ERROR: "the server answered with an error, such as SERVER_ERROR or HTTP 5xx",
    Outcome.TLS_CERTIFICATE_EXPIRED: "the server's certificate has expired, or is not valid yet",
    Outcome.TLS_WRONG_NAME: "the server's certificate is another host's",
    Outcome.TLS_UNKNOWN_CA: "the server's certificate is signed by nobody who is trusted",
    Outcome.TLS_REFUSED: "the server ended TLS with an alert",
    Outcome.TLS_FAILED: "TLS failed in another way",
    Outcome.TLS_TIMEOUT: "connected, but no end of the TLS handshake before the deadline",
    Outcome.NOT_TLS: "the server's answer to the TLS handshake is not TLS",
    Outcome.REQUEST_REFUSED: "the server refused the request (HTTP 4xx)",
    Outcome.NOT_AUTHENTICATED: "the server wanted a password, or another one",
    Outcome.SERVER_LOADING: "the server was still loading its data (Redis' LOADING)",
    Outcome.TOO_MANY_CONNECTIONS: "the server answered that it has too many connections",
    Outcome.OTHER_ERROR: "an errno with no outcome of its own",
}


def described(name: str) -> str:
    """Return an outcome in words; a run of another version may have some that this one does not know."""
    return (
        DESCRIPTIONS[Outcome(name)]
        if name in _KNOWN
        else "an outcome that this version does not know"
    )


_KNOWN = frozenset(Outcome)

_ANY_PHASE: dict[int, Outcome] = {
    errno.EMFILE: Outcome.FD_EXHAUSTED,
    errno.ENFILE: Outcome.FD_EXHAUSTED,
    errno.ENOMEM: Outcome.NO_MEMORY,
    errno.ENOBUFS: Outcome.NO_MEMORY,
    errno.EPERM: Outcome.DENIED,
    errno.EACCES: Outcome.DENIED,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETDOWN: Outcome.UNREACHABLE,
    errno.EHOSTDOWN: Outcome.UNREACHABLE,
}

_BY_PHASE: dict[tuple[Phase, int], Outcome] = {
    (Phase.BIND, errno.EADDRINUSE): Outcome.BIND_PORT_EXHAUSTED,
    (Phase.BIND, errno.EADDRNOTAVAIL): Outcome.BAD_SOURCE,
    (Phase.CONNECT, errno.EADDRNOTAVAIL): Outcome.LOCAL_PORT_EXHAUSTED,
    (Phase.CONNECT, errno.EADDRINUSE): Outcome.LOCAL_PORT_EXHAUSTED,
    # A blackhole route on this host (fib_props in net/ipv4/fib_semantics.c).
    (Phase.CONNECT, errno.EINVAL): Outcome.UNREACHABLE,
    (Phase.CONNECT, errno.ECONNREFUSED): Outcome.CONNECT_REFUSED,
    # A RST that answers a SYN is ECONNREFUSED, always; these two mean that the handshake was
    # already over when the first send() met the reset.
    (Phase.CONNECT, errno.ECONNRESET): Outcome.RESET,
    (Phase.CONNECT, errno.EPIPE): Outcome.RESET,
    (Phase.CONNECT, errno.ETIMEDOUT): Outcome.CONNECT_TIMEOUT,
    (Phase.HANDSHAKE, errno.ECONNRESET): Outcome.RESET,
    (Phase.HANDSHAKE, errno.EPIPE): Outcome.RESET,
    (Phase.HANDSHAKE, errno.ETIMEDOUT): Outcome.TLS_TIMEOUT,
    (Phase.EXCHANGE, errno.ECONNRESET): Outcome.RESET,
    (Phase.EXCHANGE, errno.EPIPE): Outcome.RESET,
    (Phase.EXCHANGE, errno.ETIMEDOUT): Outcome.REPLY_TIMEOUT,
}


def classify(phase: Phase, error: int) -> Outcome:
    """Return the outcome of an attempt that met errno `error` in `phase`."""
    found = _BY_PHASE.get((phase, error))
    if found is None:
        found = _ANY_PHASE.get(error, Outcome.OTHER_ERROR)
    return found


def errno_name(error: int) -> str:
    """Return the symbolic name, such as `EADDRNOTAVAIL`, or `errno 999` for an unknown one."""
    return errno.errorcode.get(error, f"errno {error}")
