"""What shards and control say to each other, and how both know that it was the other. Pure.

A shard connects to control; neither needs ssh, a certificate or a clock. Both hold the run's key, 32
random bytes that nobody else has: the fleet's launcher hands it to the shards as a secret.

    control → shard   HELLO ‖ nonce(32)
    shard → control   nonce(32) ‖ HMAC(key, "shard" ‖ both nonces)
    control → shard   HMAC(key, "control" ‖ both nonces)

From there on each direction is a sequence of frames: length(4) ‖ body ‖ HMAC(direction's key, number
‖ body), HMAC-SHA256 throughout (RFC 2104), bodies in MessagePack. The nonces make the keys of each
connection its own and the number each frame's place its own, so that nothing can be replayed,
reordered, left out in the middle or sent back. Who does not know the key is heard for 64 bytes.

What is sent is not encrypted: anyone on the way can read figures and files of a load test, and
change none of them.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec

from loadgen.accounting.messages import Totals

PROTOCOL: Final = "1"
"""What an image's label `churnlab.fleet` must say: both sides are of one version of this file."""
HELLO: Final = b"churnlab fleet 1\n"
NONCE: Final = 32
TAG: Final = hashlib.sha256().digest_size
KEY: Final = 32
LONGEST: Final = 16 << 20
"""Bytes of a body. Files that are sent whole (a summary, a snapshot) are the longest."""
PIECE: Final = 256 << 10
"""Bytes of a growing file that one message carries."""
GROWING: Final = ("samples.jsonl", "latency.hlog")
"""Files that are only ever appended to; all others are replaced as a whole."""


PAGE: Final = "index.html"


class WireError(Exception):
    """The other side does not hold the key, or does not keep to the protocol."""


# --- messages -------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag=True):
    """A shard's first words."""

    seat: str
    """Which of the fleet's places it holds: a node's id, a task's slot, a job's index."""
    node: str
    instance: str
    """Random: the same process again, or another one in its place?"""
    version: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The shard has checked its options and waits for `Go`."""

    preparing: float
    """Seconds that it took to get as far, waiting for control apart; loadgen will take as long."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The shard cannot run with these options."""

    said: str


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The shard's clocks, in answer to `Ping`."""

    asked: float
    monotonic: float
    wall: float


class Progress(msgspec.Struct, frozen=True, tag=True):
    """The shard's counts so far, once a second."""

    t: float
    totals: Totals


class Append(msgspec.Struct, frozen=True, tag=True):
    """More of a growing file."""

    file: str
    offset: int
    data: bytes


class Whole(msgspec.Struct, frozen=True, tag=True):
    """A file that is replaced."""

    file: str
    data: bytes


class Done(msgspec.Struct, frozen=True, tag=True):
    """The shard's run is over, and all of its files have been sent."""

    code: int
    said: str
    """The last line on its stderr, where the code is not one of a run that went to its end."""
    sizes: dict[str, int]


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """The shard's place, its orders, and what of its growing files control has already."""

    index: int
    count: int
    arguments: list[str]
    have: dict[str, int]


class TurnedAway(msgspec.Struct, frozen=True, tag=True):
    """Control has no place for this shard."""

    said: str


class Ping(msgspec.Struct, frozen=True, tag=True):
    """A question for the shard's clocks."""

    asked: float


class Go(msgspec.Struct, frozen=True, tag=True):
    """Begin at this moment of the shard's own CLOCK_MONOTONIC."""

    at: float


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End the run in good order, and come home."""


class Kept(msgspec.Struct, frozen=True, tag=True):
    """Everything is on control's disk: the shard may go."""


FromShard = Hello | Ready | Refused | Pong | Progress | Append | Whole | Done
ToShard = Welcome | TurnedAway | Ping | Go | Stop | Kept
_encoder: Final = msgspec.msgpack.Encoder()
_from_shard: Final = msgspec.msgpack.Decoder(FromShard)
_to_shard: Final = msgspec.msgpack.Decoder(ToShard)


def encode(message: FromShard | ToShard) -> bytes:
    """Return the message's body."""
    return _encoder.encode(message)


def from_shard(body: bytes) -> FromShard:
    """Read a shard's message.

    Raises:
        WireError: when it is none.
    """
    try:
        message: FromShard = _from_shard.decode(body)
    except msgspec.DecodeError as error:
        raise WireError(f"an invalid message: {error}") from None
    return message


def to_shard(body: bytes) -> ToShard:
    """Read a message of control's.

    Raises:
        WireError: when it is none.
    """
    try:
        message: ToShard = _to_shard.decode(body)
    except msgspec.DecodeError as error:
        raise WireError(f"an invalid message: {error}") from None
    return message


# --- who is who -----------------------------------------------------------------------------


def proof(key: bytes, side: str, control_nonce: bytes, shard_nonce: bytes) -> bytes:
    """Return what shows that a side (`shard` or `control`) holds the key."""
    return hmac.digest(key, side.encode() + b"\0" + control_nonce + shard_nonce, "sha256")


def check_proof(
    key: bytes, side: str, control_nonce: bytes, shard_nonce: bytes, given: bytes
) -> None:
    """Check the other side's proof, in constant time.

    Raises:
        WireError: when it does not hold the key.
    """
    if not hmac.compare_digest(proof(key, side, control_nonce, shard_nonce), given):
        raise WireError("the other side does not hold this run's key")


class Sealer:
    """Turns bodies into the frames of one direction of one connection."""

    def __init__(
        self, key: bytes, direction: str, control_nonce: bytes, shard_nonce: bytes
    ) -> None:
        self._key = proof(key, f"frames {direction}", control_nonce, shard_nonce)
        self._number = 0

    def seal(self, body: bytes) -> bytes:
        """Return the next frame.

        Raises:
            WireError: when the body is longer than any may be.
        """
        if len(body) > LONGEST:
            raise WireError(f"a message of {len(body):,} bytes is longer than {LONGEST:,}")
        return len(body).to_bytes(4, "big") + body + self.tag(body)

    def tag(self, body: bytes) -> bytes:
        """Return the next frame's tag."""
        number = self._number.to_bytes(8, "big")
        self._number += 1
        return hmac.digest(self._key, number + body, "sha256")


class Opener:
    """Takes bytes as they come, and gives the bodies of one direction of one connection."""

    def __init__(
        self, key: bytes, direction: str, control_nonce: bytes, shard_nonce: bytes
    ) -> None:
        self._sealer = Sealer(key, direction, control_nonce, shard_nonce)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies that are complete now.

        Raises:
            WireError: for a frame that is too long, or that the other side did not write.
        """
        self._buffer += data
        bodies = []
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if length > LONGEST:
                raise WireError(f"a frame of {length:,} bytes is longer than {LONGEST:,}")
            end = 4 + length + TAG
            if len(self._buffer) < end:
                break
            body, tag = bytes(self._buffer[4 : 4 + length]), bytes(self._buffer[4 + length : end])
            del self._buffer[:end]
            if not hmac.compare_digest(self._sealer.tag(body), tag):
                raise WireError("a frame was changed on its way, or is not in its place")
            bodies.append(body)
        return bodies


def allowed_file(name: str) -> bool:
    """Whether a shard may send a file of this name: those of a run directory, and no other path."""
    parts = name.split("/")
    stem, dot, kind = parts[-1].rpartition(".")
    plain = all(char.isalnum() or char in "_-" for char in stem)
    known = kind == "json" or name in GROWING or name == PAGE
    return bool(stem and dot and plain and known and len(name) <= 100) and (
        len(parts) == 1 or (len(parts) == 2 and parts[0] == "snapshots")
    )
