"""What is spoken over the connections: one file a protocol, and the table that names them."""

from __future__ import annotations

from typing import Final

from loadgen.config import CloseMode
from loadgen.protocols import http, memcached, redis, tcp
from loadgen.protocols.seam import Protocol

PROTOCOLS: Final[dict[str, Protocol]] = {
    protocol.name: protocol
    for protocol in (memcached.PROTOCOL, redis.PROTOCOL, http.PROTOCOL, tcp.PROTOCOL)
}
"""By name, as `RunConfig.protocol` has it."""


def meaning_of(close: CloseMode, protocol: str, *, tls: bool) -> str:
    """Return what a close mode comes to, in a few words for a report.

    The run may be another version's: any name is a protocol's.
    """
    known = PROTOCOLS.get(protocol)
    if known is None:
        return "of a protocol that is not known here"
    words = known.closes[close]
    if tls and close == "client":
        # See `loadgen.protocols.tls`.
        words += ", unless the server answers with a close_notify: then nowhere"
    return words
