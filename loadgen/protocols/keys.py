"""Keys and values of the key-value protocols: made up before the run, the same for the same seed.

And what such protocols have in common beside them: their requests are drawn, a password opens each
connection, and all keys can be stored before the run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from loadgen.config import RunConfig
from loadgen.protocols.seam import Request, Script, preceded

LONGEST_VALUE: Final = 1_000_000
"""Bytes. memcached's default item limit is 1 MiB, item header and key included."""
_REQUESTS = 16_384
"""Drawn before the run, and used in turn."""
_MOST_BYTES = 16_000_000
_VALUE_PATTERN = b"churnlab"

Make = Callable[[int, bytes], Request]
"""Makes the request for the key of a number, given the value that every key holds."""


def value_of(size: int) -> bytes:
    """Return the `size` bytes that every seeded key holds."""
    return (_VALUE_PATTERN * (size // len(_VALUE_PATTERN) + 1))[:size]


def key_of(number: int) -> bytes:
    """Return the name of key `number`."""
    return b"churnlab:%d" % number


def draw(
    get: Make,
    put: Make,
    *,
    gets: float,
    key_space: int,
    value_size: int,
    seed: int,
    count: int = _REQUESTS,
) -> list[Request]:
    """Return requests to be used in turn, drawn before the run so that it need not draw.

    Args:
        get: makes a request that asks for a key.
        put: makes one that stores it.
        gets: the share of gets, 0 to 1; the rest are puts.
        key_space: keys are drawn evenly from this many.
        value_size: bytes, 0 to `LONGEST_VALUE`.
        seed: the same seed gives the same requests.
        count: how many; fewer when values are so large that the list would fill memory.
    """
    value = value_of(value_size)
    affordable = max(16, _MOST_BYTES // (value_size + 64))
    die = random.Random(seed)
    made: dict[tuple[bool, int], Request] = {}

    def one() -> Request:
        asks = die.random() < gets
        number = die.randrange(key_space)
        found = made.get((asks, number))
        if found is None:
            found = made[asks, number] = (get if asks else put)(number, value)
        return found

    return [one() for _ in range(min(count, affordable))]


def script(drawn: Sequence[Request], opening: Request | None, farewell: Request) -> Script:
    """Return what is said over a connection: the drawn requests, the first of them after `opening`."""
    return Script(
        first=[preceded(opening, request) for request in drawn] if opening else drawn,
        later=drawn,
        last=drawn,
        farewell=farewell,
    )


def stored(config: RunConfig, opening: Request | None, put: Make) -> Iterator[Request]:
    """Yield what stores every key that the run will ask for, over one connection."""
    if opening is not None:
        yield opening
    value = value_of(config.value_size)
    for number in range(config.key_space):
        yield put(number, value)
