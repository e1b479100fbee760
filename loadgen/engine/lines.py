"""What is said over connections: from scripts to requests in turn, fixed before the loop begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, product

from loadgen.config import RunConfig
from loadgen.protocols import tls
from loadgen.protocols.seam import Request, Script

_MORE_THAN_USUAL = 64
_UNKNOWN_REPLY = 16_384
_MOST_AT_ONCE = 65_536


class Lines:
    """What is said to a target: its script's requests, each list used in turn; and TLS or none."""

    __slots__ = ("farewell", "first", "last", "later", "tls")

    def __init__(self, script: Script, client: tls.Client | None) -> None:
        self.tls = client
        self.first: Iterator[Request] = cycle(script.first)
        self.later: Iterator[Request] = cycle(script.later)
        self.last: Iterator[Request] = cycle(script.last)
        self.farewell = script.farewell


def ways(
    config: RunConfig, scripts: Sequence[Script]
) -> Iterator[tuple[str, tuple[str, int], Lines, Iterator[Request]]]:
    """Return, in turn and for ever, where an attempt comes from, where it goes and what it says.

    That is the source address or nothing, the target's address, its lines and the first of them.
    """
    # Targets that share a script share its turns; those with TLS have sessions of their own.
    shared = {id(script): Lines(script, None) for script in scripts}
    targets = [
        (address, shared[id(script)] if client is None else Lines(script, client))
        for address, script, client in zip(
            config.addresses, scripts, tls.clients(config), strict=True
        )
    ]
    return cycle(
        [
            (source, address, said, said.first)
            for source, (address, said) in product(config.source_addresses or [""], targets)
        ]
    )


def receive_size(scripts: Sequence[Script]) -> int:
    """Return how many bytes to ask for at a time.

    A little more than the usual reply, so that one byte too many is seen; and no more, since CPython
    has an allocator of its own for what is smaller than 512 bytes.
    """
    requests = [r for script in scripts for r in (*script.first, *script.later, *script.last)]
    usual = max(len(request.usual_reply or b"") for request in requests)
    unknown = any(r.reply is not None and r.usual_reply is None for r in requests)
    return max(_UNKNOWN_REPLY if unknown else 0, min(_MOST_AT_ONCE, _MORE_THAN_USUAL + usual))
