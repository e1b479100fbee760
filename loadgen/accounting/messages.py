"""What coordinator and workers tell each other: one JSON object a line, over the worker's pipes.

The coordinator sends `Assignment` first and `Go` when every worker is ready; after that only `Stop`,
if at all. A worker sends `Ready`, then a `Tick` ten times a second and a `Histograms` each second,
and `Done` at its end. A tick holds totals, never differences: a lost or late one costs nothing.
"""

from __future__ import annotations

import msgspec

from loadgen.config import RunConfig
from loadgen.summary import Losses
from loadgen.target import Credentials

LATENCIES = ("connect", "tls", "first_byte", "total")
"""`tls` is the duration of its handshake; the others are counted from the intended start."""
LATENESS = "lateness"
TAGS = (*LATENCIES, LATENESS)


class Assignment(msgspec.Struct, frozen=True, tag=True):
    """The worker's share of the run."""

    config: RunConfig
    worker: int
    shard: int
    shards: int
    max_in_flight: int
    concurrency: int
    credentials: Credentials | None = None
    """Not part of the configuration, which is written to files."""


class Go(msgspec.Struct, frozen=True, tag=True):
    """Start: the first arrival of the counted run is due at `origin` on CLOCK_MONOTONIC."""

    origin: float


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Start no more attempts, count those under way as unfinished, and report."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker has prepared everything and waits for `Go`."""


class Totals(Losses, msgspec.Struct, kw_only=True):
    """A worker's counts since the run's start. Workers' totals add up to the run's."""

    scheduled: int = 0
    started: int = 0
    ok: int = 0
    failed: int = 0
    unfinished: int = 0
    """Under way now; at the end, never to be finished."""
    dropped: int = 0
    connect_calls: int = 0
    connect_call_seconds: float = 0.0
    cpu_user: float = 0.0
    cpu_system: float = 0.0
    tls_handshakes: int = 0
    """Of TLS, that were finished."""
    tls_resumed: int = 0
    """Of these, how many took up an earlier session."""
    tls_cpu: float = 0.0
    """Seconds of the workers' CPU that they took, unfinished ones included."""
    drops: dict[str, int] = msgspec.field(default_factory=dict)
    outcomes: dict[str, int] = msgspec.field(default_factory=dict)
    errors: dict[str, int] = msgspec.field(default_factory=dict)
    replies: dict[str, int] = msgspec.field(default_factory=dict)
    first_failure_at: float | None = None
    """Seconds since the run's start, of the first failed attempt or dropped arrival."""
    started_before_first_failure: int | None = None


class Tick(msgspec.Struct, frozen=True, tag=True):
    """Totals at one tick of the grid that all workers share."""

    number: int
    t: float
    totals: Totals


class Histograms(msgspec.Struct, frozen=True, tag=True):
    """Latencies counted since the last message of this kind, by tag and bucket."""

    number: int
    """The second, counted from the run's start, that this message closes."""
    counts: dict[str, dict[int, int]]


class Done(msgspec.Struct, frozen=True, tag=True):
    """The worker's final totals; `histograms` hold what was counted since the last message."""

    t: float
    totals: Totals
    histograms: Histograms
    interrupted: bool


ToWorker = Assignment | Go | Stop
FromWorker = Ready | Tick | Histograms | Done
to_worker = msgspec.json.Decoder(ToWorker)
from_worker = msgspec.json.Decoder(FromWorker)


def encode(message: ToWorker | FromWorker) -> bytes:
    """Return the message as one line."""
    return msgspec.json.encode(message) + b"\n"
