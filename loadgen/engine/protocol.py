"""memcached's text protocol, as far as a short connection needs it, without any input or output.

A reply is judged from the bytes received so far: complete and good, complete and an error, not yet
complete, or not the protocol at all (memcached, doc/protocol.txt). On a busy run nearly every reply
is one of two byte strings that are known before the run starts, the hit on a seeded key and the
miss, so a request carries them and the engine compares first and parses only what differs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

MISS = b"END\r\n"
STORED = b"STORED\r\n"
QUIT = b"quit\r\n"
TOO_MANY = b"ERROR Too many open connections\r\n"

LONGEST_KEY = 250
LONGEST_VALUE = 1_000_000
"""Bytes. memcached's default item limit is 1 MiB, item header and key included."""

_LONGEST_LINE = 2048
_KNOWN_LINES = (b"VALUE ", b"END\r\n", b"STORED\r\n", b"NOT_STORED\r\n", b"ERROR")
_KNOWN_ERRORS = (b"SERVER_ERROR", b"CLIENT_ERROR")
_VALUE_PATTERN = b"churnlab"
_CACHED_REPLY_BYTES = 16_000_000


class Reply(Enum):
    """What the bytes received so far come to."""

    HIT = "hit"
    MISS = "miss"
    STORED = "stored"
    NOT_STORED = "not_stored"
    INCOMPLETE = "incomplete"
    SERVER_ERROR = "server_error"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    MALFORMED = "malformed"


class Request(NamedTuple):
    """One request, and the reply that it gets when all is well."""

    data: bytes
    operation: str
    """`get` or `set`."""
    usual_reply: bytes
    usual: Reply
    key: bytes


def value_of(size: int) -> bytes:
    """Return the `size` bytes that every seeded key holds."""
    return (_VALUE_PATTERN * (size // len(_VALUE_PATTERN) + 1))[:size]


def key_of(number: int) -> bytes:
    """Return the name of key `number`."""
    return b"churnlab:%d" % number


def get_request(number: int, value: bytes) -> Request:
    """Return a `get` of key `number`, which holds `value` once seeded."""
    key = key_of(number)
    hit = b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(value), value)
    return Request(b"get %b\r\n" % key, "get", hit, Reply.HIT, key)


def set_request(number: int, value: bytes) -> Request:
    """Return a `set` of key `number` to `value`, without expiry."""
    key = key_of(number)
    data = b"set %b 0 0 %d\r\n%b\r\n" % (key, len(value), value)
    return Request(data, "set", STORED, Reply.STORED, key)


def requests(
    gets: float, key_space: int, value_size: int, *, count: int, seed: int
) -> list[Request]:
    """Return `count` requests to be used in turn, drawn before the run so that it need not draw.

    Args:
        gets: the share of gets, 0 to 1; the rest are sets.
        key_space: keys are drawn evenly from this many.
        value_size: bytes, 0 to `LONGEST_VALUE`.
        count: how many; fewer when values are so large that the list would fill memory.
        seed: the same seed gives the same requests.
    """
    value = value_of(value_size)
    affordable = max(16, _CACHED_REPLY_BYTES // (value_size + 64))
    draw = random.Random(seed)
    made: dict[tuple[str, int], Request] = {}

    def one() -> Request:
        operation, make = ("get", get_request) if draw.random() < gets else ("set", set_request)
        number = draw.randrange(key_space)
        found = made.get((operation, number))
        if found is None:
            found = made[operation, number] = make(number, value)
        return found

    return [one() for _ in range(min(count, affordable))]


def seed_items(key_space: int, value_size: int, batch: int = 500) -> Iterator[dict[str, bytes]]:
    """Yield all keys with their value, in batches that a client can send at once."""
    value = value_of(value_size)
    for first in range(0, key_space, batch):
        numbers = range(first, min(first + batch, key_space))
        yield {key_of(number).decode(): value for number in numbers}


def parse_reply(request: Request, data: bytes) -> Reply:
    """Return what `data`, all that has been received for `request`, comes to."""
    if data == request.usual_reply:
        return request.usual
    if not data:
        return Reply.INCOMPLETE
    if data.startswith(b"VALUE "):
        return _parse_value(request, data) if request.operation == "get" else Reply.MALFORMED
    end = data.find(b"\r\n")
    if end < 0:
        return Reply.INCOMPLETE if _may_become_a_line(data) else Reply.MALFORMED
    if end + 2 != len(data):
        return Reply.MALFORMED
    return _parse_line(request, data)


def _parse_line(request: Request, line: bytes) -> Reply:
    if line == MISS and request.operation == "get":
        return Reply.MISS
    if line == TOO_MANY:
        return Reply.TOO_MANY_CONNECTIONS
    if line == b"NOT_STORED\r\n" and request.operation == "set":
        return Reply.NOT_STORED
    word = line[:-2].split(b" ", 1)[0]
    if word == b"ERROR" or word in _KNOWN_ERRORS:
        return Reply.SERVER_ERROR
    return Reply.MALFORMED


def _may_become_a_line(data: bytes) -> bool:
    if len(data) > _LONGEST_LINE:
        return False
    return any(
        known.startswith(data) or data.startswith(known)
        for known in (*_KNOWN_LINES, *_KNOWN_ERRORS)
    ) and not data.startswith((b"END\r\n", b"STORED\r\n", b"NOT_STORED\r\n"))


def _parse_value(request: Request, data: bytes) -> Reply:
    end = data.find(b"\r\n")
    if end < 0:
        return Reply.INCOMPLETE if len(data) <= _LONGEST_LINE else Reply.MALFORMED
    fields = data[:end].split(b" ")
    if len(fields) != 4 or fields[1] != request.key:
        return Reply.MALFORMED
    flags, size = fields[2:]
    if not (flags.isdigit() and size.isdigit() and len(size) <= 10):
        return Reply.MALFORMED
    closing = b"\r\n" + MISS
    data_end = end + 2 + int(size)
    tail = data[data_end:]
    if tail == closing:
        return Reply.HIT
    return Reply.INCOMPLETE if closing.startswith(tail) else Reply.MALFORMED
