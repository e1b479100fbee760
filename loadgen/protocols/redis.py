"""Redis' protocol RESP2, as far as a short connection needs it: GET, SET, PING and AUTH.

A request is an array of bulk strings; a reply begins with the sign of its type: `+` a word, `-` an
error, `$` a value with its size, `$-1` where there is none (redis.io, "Redis serialization protocol
specification"). Valkey, KeyDB and Dragonfly speak it too.

At its limit (`maxclients`) Redis accepts a connection, writes an error and closes, without having
read a request that was there already; the close then becomes a RST that may overtake the error. With
TLS it closes without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from loadgen.config import RunConfig, parse_mix
from loadgen.metrics import REDIS
from loadgen.outcome import Outcome
from loadgen.protocols import figures, keys
from loadgen.protocols.parsing import (
    MALFORMED,
    Exactly,
    Literal,
    Reply,
    Skip,
    Steps,
    Until,
    size_of,
)
from loadgen.protocols.seam import Protocol, Request, Script, Statistics, close_modes
from loadgen.target import Credentials

HIT, MISS = Reply("hit"), Reply("miss")
STORED, PONG, DONE = Reply("stored"), Reply("pong"), Reply("done")

_END = b"\r\n"
_LONGEST_LINE = 1024
_LARGEST_VALUE: Final = 512 * 1024 * 1024
"""Bytes: proto-max-bulk-len's default. Values are passed over, not kept."""
_DIGITS: Final = 9
"""Of a size up to that."""
_MOST_INFO = 1 << 16
"""Bytes. INFO is some 5 kB."""
_LONGEST_WORD = 20
_TOO_MANY = b"-ERR max number of clients"
_AUTHENTICATION = (
    b"-NOAUTH",
    b"-WRONGPASS",
    b"-NOPERM",
    b"-ERR invalid password",  # before Redis 6
    b"-ERR AUTH",  # a password where none is set
    b"-ERR Client sent AUTH",  # the same, before Redis 6
)


def command(*words: bytes) -> bytes:
    """Return a command as Redis reads it."""
    parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"*%d\r\n%b" % (len(words), b"".join(parts))


def _error(line: bytes) -> Reply:
    if line.startswith(_TOO_MANY):
        return Reply("too_many_connections", Outcome.TOO_MANY_CONNECTIONS)
    word = line[1:-2].split(b" ", 1)[0]
    plain = word.isascii() and word.isalpha() and word.isupper() and len(word) <= _LONGEST_WORD
    detail = word.decode() if plain else "ERR"
    if line.startswith(_AUTHENTICATION):
        return Reply("not_authenticated", Outcome.NOT_AUTHENTICATED, detail)
    if word == b"LOADING":
        return Reply("loading", Outcome.SERVER_LOADING, detail)
    return Reply("server_error", Outcome.SERVER_ERROR, detail)


def _word(expected: bytes, good: Reply) -> Steps:
    line = yield Until(_END, _LONGEST_LINE, (expected, b"-"))
    if line.startswith(b"-"):
        return _error(line)
    return good if line == expected else MALFORMED


def _set() -> Steps:
    return _word(b"+OK\r\n", STORED)


def _ping() -> Steps:
    return _word(b"+PONG\r\n", PONG)


def _ok() -> Steps:
    return _word(b"+OK\r\n", DONE)


def _get() -> Steps:
    line = yield Until(_END, _LONGEST_LINE, (b"$", b"-"))
    if line.startswith(b"-"):
        return _error(line)
    if line == b"$-1\r\n":
        return MISS
    size = size_of(line[1:-2], _DIGITS)
    if size is None or size > _LARGEST_VALUE:
        return MALFORMED
    yield Skip(size)
    yield Literal(_END)
    return HIT


def _info() -> Steps:
    line = yield Until(_END, _LONGEST_LINE, (b"$", b"-"))
    if line.startswith(b"-"):
        return _error(line)
    size = size_of(line[1:-2], _DIGITS)
    if size is None or size > _MOST_INFO:
        return MALFORMED
    text = yield Exactly(size)
    yield Literal(_END)
    return Reply("statistics", text=text)


QUIT: Final = Request(command(b"QUIT"), b"+OK\r\n", "", _ok)
PING: Final = Request(command(b"PING"), b"+PONG\r\n", PONG.name, _ping)


def get_request(number: int, value: bytes) -> Request:
    """Return a GET of key `number`, which holds `value` once seeded."""
    hit = b"$%d\r\n%b\r\n" % (len(value), value)
    return Request(command(b"GET", keys.key_of(number)), hit, HIT.name, _get)


def set_request(number: int, value: bytes) -> Request:
    """Return a SET of key `number` to `value`, without expiry."""
    return Request(command(b"SET", keys.key_of(number), value), b"+OK\r\n", STORED.name, _set)


def _authenticate(credentials: Credentials | None) -> Request | None:
    if credentials is None:
        return None
    words = [word.encode() for word in (credentials.user, credentials.password) if word]
    return Request(command(b"AUTH", *words), b"+OK\r\n", "", _ok)


def _gets(op: str) -> float:
    if op == "ping":
        return 0.0
    try:
        return parse_mix(op)
    except ValueError:
        raise ValueError(
            f"{op!r} is not an operation of redis: write get, set, mix:90/10 or ping"
        ) from None


def _scripts(config: RunConfig, credentials: Credentials | None, seed: int) -> list[Script]:
    drawn = (
        [PING]
        if config.op == "ping"
        else keys.draw(
            get_request,
            set_request,
            gets=config.gets,
            key_space=config.key_space,
            value_size=config.value_size,
            seed=seed,
        )
    )
    return [keys.script(drawn, _authenticate(credentials), QUIT)] * len(config.targets)


def _seed(config: RunConfig, credentials: Credentials | None) -> Iterator[Request]:
    return keys.stored(config, _authenticate(credentials), set_request)


def _fields(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in text.split(_END):
        name, _, value = line.partition(b":")
        yield name, value


def statistics(credentials: Credentials | None = None) -> Statistics:
    """Return how a Redis is asked for its figures."""
    return Statistics(
        program="redis",
        command="INFO",
        request=Request(command(b"INFO"), None, "", _info),
        select=figures.selector("redis", REDIS, _fields),
        metrics=REDIS,
        opening=_authenticate(credentials),
    )


PROTOCOL = Protocol(
    name="redis",
    gets=_gets,
    scripts=_scripts,
    closes=close_modes("Redis' FIN first (QUIT)"),
    seed=_seed,
    statistics=lambda _, credentials: statistics(credentials),
)
