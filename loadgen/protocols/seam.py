"""What the rest of the program has to know of a protocol: a table of functions, one table a protocol.

The engine sees less than that. It is given a `Script` for each target before the run: the bytes to
send, the reply that they usually get, and how to read any other. In its loop there is no protocol
left to choose.

To add one: a file in this folder that makes such a table, its line in `PROTOCOLS` and in
`loadgen.target.SCHEMES` (CONTRIBUTING.md has the recipe).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loadgen.config import CloseMode, RunConfig
from loadgen.metrics import Metric
from loadgen.outcome import Outcome
from loadgen.protocols.parsing import Steps
from loadgen.summary import Number
from loadgen.target import Credentials


class Request(NamedTuple):
    """What is sent at one time, and the reply that it gets when all is well."""

    data: bytes
    """Nothing where the server speaks first, or nobody speaks."""
    usual_reply: bytes | None
    """The whole reply in the usual case; None where it cannot be known beforehand. Never empty: the
    engine compares it with what recv() returns, which is nothing at the end of the stream."""
    usual: str
    """Under which the summary's `replies` count the usual reply."""
    reply: Callable[[], Steps] | None
    """Begins to read any reply; None where none is awaited, and the attempt ends with the sending."""


@dataclass(frozen=True, slots=True)
class Script:
    """What is said over each connection to one target."""

    first: Sequence[Request]
    """One of them opens a connection, in turn."""
    later: Sequence[Request]
    """Those that follow on the same connection, with several requests a connection."""
    last: Sequence[Request]
    """The last one of several."""
    farewell: Request | None = None
    """Asks the server to close, after the last reply; None where the last request did."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """How a server is asked for its own figures, over a connection of its own."""

    program: str
    """The server's name, for messages: `memcached`, `redis`, `nginx`. Its metrics begin with it;
    PROGRAM_up and PROGRAM_targets are the reader's own."""
    command: str
    """What is asked, in the user's words: `stats`, `INFO`."""
    request: Request
    """Its reply carries the figures as `text`."""
    select: Callable[[bytes], dict[str, Number]]
    """Return the catalogue's metrics that are in the text; never raises."""
    metrics: Sequence[Metric]
    opening: Request | None = None
    """Sent once a connection."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """The table of one protocol. All of it is pure."""

    name: str
    gets: Callable[[str], float]
    """Return which share of the requests that `--op` names asks for stored keys.

    Raises ValueError for an operation that the protocol does not have; it names those it has."""
    scripts: Callable[[RunConfig, Credentials | None, int], list[Script]]
    """Return a script for each target, given the seed of the draw."""
    closes: dict[CloseMode, str]
    """What each close mode means, in a few words for the report."""
    seed: Callable[[RunConfig, Credentials | None], Iterator[Request]] | None = None
    """Yield what stores everything that the run will ask for; None where nothing can be stored."""
    statistics: Callable[[RunConfig, Credentials | None], Statistics | None] | None = None
    """Return how a target is asked for its figures; None where it cannot be."""


def close_modes(server_first: str) -> dict[CloseMode, str]:
    """Return what each close mode means.

    Args:
        server_first: how the server comes to close first, in this protocol.
    """
    return {
        "client": "the client's FIN first: TIME_WAIT stays on the client",
        "server": f"{server_first}: TIME_WAIT stays on the server",
        "rst": "the client resets (SO_LINGER 0): no TIME_WAIT anywhere",
    }


def preceded(opening: Request | None, request: Request) -> Request:
    """Return `request` with `opening` sent before it in the same breath, if there is one.

    Both are answered in turn; where the opening is refused, that is the reply.
    """
    if opening is None:
        return request

    def steps() -> Steps:
        for one in (opening, request):
            assert one.reply is not None  # only requests that are answered are put together
            reply = yield from one.reply()
            if reply.outcome is not Outcome.OK:
                break
        return reply

    return Request(
        opening.data + request.data,
        opening.usual_reply + request.usual_reply
        if opening.usual_reply is not None and request.usual_reply is not None
        else None,
        request.usual,
        steps,
    )
