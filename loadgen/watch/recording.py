"""What a recording is made of: lines of JSON, each of a kind. Pure.

A recording is a directory of segments. A segment begins with a `Head` and is complete in itself: the
first `Tick` has every value, later ones only those that changed. So a segment that is cut at any
byte loses its last line and nothing else, and old segments can go without harming younger ones. A
recording is bounded on disk by leaving its oldest segments out; the `moments.jsonl` beside them
stays, so that it is still known when each limit was reached first, and who used it then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from loadgen.summary import Number
from loadgen.watch.who import Who

SCHEMA: Final = "churnlab.recording/1"
MOMENTS: Final = "moments.jsonl"
SEGMENTS: Final = "segments"
OPEN, CLOSED = ".jsonl", ".jsonl.gz"
LARGEST_SEGMENT: Final = 64 << 20
"""Bytes of a segment before it is compressed, however much a recording may take in all."""
LONGEST_LINE: Final = 1 << 20
"""Bytes of a line that is read; ours are a few thousand."""


class Piece(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """A line of a segment."""


class Head(Piece, frozen=True, kw_only=True, tag="head"):
    """The first line of a segment: what is recorded, and when its clock stood at 0."""

    schema: str = SCHEMA
    time: float
    """Seconds since 1970, UTC, of the segment's time 0."""
    host: str
    namespace: str
    """What was watched, in words."""
    kernel: str
    interval: float
    """Seconds between two readings, as asked for."""
    sysctls: dict[str, str]
    """In force, by dotted key."""
    absent: dict[str, str] = {}
    """Metrics that cannot be read, each with the reason."""


class Tick(Piece, frozen=True, kw_only=True, tag="tick"):
    """One reading."""

    t: float
    """Seconds of the segment's clock."""
    values: dict[str, Number]
    """Those that changed since the tick before; all in a segment's first."""
    gone: list[str] = []
    """Metrics that the tick before had and this has not."""


class Use(Piece, frozen=True, kw_only=True, tag="use"):
    """Who used what."""

    t: float
    who: Who


class Moment(Piece, frozen=True, kw_only=True, tag="moment"):
    """Something that began or ended, with the state of things then."""

    time: float
    """Seconds since 1970, UTC."""
    name: str
    """Of the limit or counter; see docs/metrics.md."""
    began: bool
    """False when it ended."""
    text: str
    """What happened, in words."""
    values: dict[str, Number] = {}
    """The whole reading, of a beginning."""
    who: Who | None = None
    """Who used what then, of a beginning."""


AnyPiece = Head | Tick | Use | Moment
_DECODER: Final = msgspec.json.Decoder(AnyPiece)


def encode(piece: Piece) -> bytes:
    """Return a line."""
    return msgspec.json.encode(piece) + b"\n"


def decode(line: bytes) -> AnyPiece | None:
    """Return what a line says; None when it was cut, or is none of ours."""
    try:
        found: AnyPiece = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found


def changes(before: Mapping[str, Number], now: Mapping[str, Number]) -> dict[str, Any]:
    """Return the fields `values` and `gone` of the tick that leads from one reading to the next."""
    return {
        "values": {name: value for name, value in now.items() if before.get(name) != value},
        "gone": [name for name in before if name not in now],
    }


class Replay:
    """Puts whole readings together again from ticks."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.values: dict[str, Number] = {}
        self.last: float | None = None
        """Seconds since 1970 of the last tick."""

    def take(self, piece: AnyPiece) -> float | None:
        """Take in one piece; return its time in seconds since 1970, None where it cannot be told."""
        if isinstance(piece, Head):
            self.head, self.values = piece, {}
            return piece.time
        if isinstance(piece, Moment):
            return piece.time
        if self.head is None:
            return None
        moment = self.head.time + piece.t
        if isinstance(piece, Tick):
            for name in piece.gone:
                self.values.pop(name, None)
            self.values.update(piece.values)
            self.last = moment
        return moment


def pieces(lines: Iterable[bytes]) -> Iterator[AnyPiece]:
    """Return the pieces of a segment's lines; what cannot be read is passed over."""
    for line in lines:
        piece = decode(line) if line.endswith(b"\n") and len(line) <= LONGEST_LINE else None
        if piece is not None:
            yield piece
