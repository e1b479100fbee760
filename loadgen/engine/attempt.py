"""One attempt's life: its states, and what ends it in each of them.

    start ──► CONNECTING ──► AWAITING_REPLY ──► (next request) ──► AWAITING_CLOSE ──► end
                │    │             ▲     │                              │
                │    └─► SECURING ─┘     │                              │
                └──── errno, deadline or end of stream end it ──────────┘

SECURING exists only where TLS is spoken: its handshake is under way.
AWAITING_CLOSE exists only where the server is to close first (`--close server`): the side that
closes first keeps the TIME_WAIT socket (RFC 9293, 3.3.2), so waiting for the server's FIN is the
point.

An attempt in TIME_WAIT is already over: its descriptor is closed, its port is not free. That is the
kernel's state, not the attempt's, and is seen only in the samples.
"""

from __future__ import annotations

from enum import IntEnum

from loadgen.outcome import Outcome, Phase


class State(IntEnum):
    """What an attempt is waiting for."""

    CONNECTING = 0
    AWAITING_REPLY = 1
    AWAITING_CLOSE = 2
    SECURING = 3


PHASE: dict[State, Phase] = {
    State.CONNECTING: Phase.CONNECT,
    State.AWAITING_REPLY: Phase.EXCHANGE,
    State.AWAITING_CLOSE: Phase.EXCHANGE,
    State.SECURING: Phase.HANDSHAKE,
}
"""The phase in which an errno is classified."""

ON_DEADLINE: dict[State, Outcome] = {
    State.CONNECTING: Outcome.CONNECT_TIMEOUT,
    State.AWAITING_REPLY: Outcome.REPLY_TIMEOUT,
    State.AWAITING_CLOSE: Outcome.CLOSE_TIMEOUT,
    State.SECURING: Outcome.TLS_TIMEOUT,
}

ON_END_OF_STREAM: dict[State, Outcome] = {
    State.CONNECTING: Outcome.RESET,
    State.AWAITING_REPLY: Outcome.TRUNCATED_REPLY,
    State.AWAITING_CLOSE: Outcome.OK,
    State.SECURING: Outcome.TRUNCATED_REPLY,
}
"""Unless a reply that was under way ends with the stream, or is cut off by it."""
