"""memcached's text protocol, as far as a short connection needs it (memcached, doc/protocol.txt).

The classic commands `get` and `set`, and the meta commands `mg` and `ms` that newer clients use in
their place (memcached 1.6). On a busy run nearly every reply is one of a few byte strings that are
known before the run starts, the hit on a seeded key and the miss; so a request carries its own, and
only what differs is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from loadgen.config import RunConfig, parse_mix
from loadgen.metrics import MEMCACHED
from loadgen.outcome import Outcome
from loadgen.protocols import figures, keys
from loadgen.protocols.parsing import MALFORMED, Literal, Reply, Skip, Steps, Until, size_of
from loadgen.protocols.seam import Protocol, Request, Script, Statistics, close_modes
from loadgen.target import Credentials

HIT, MISS = Reply("hit"), Reply("miss")
STORED, NOT_STORED = Reply("stored"), Reply("not_stored")
TOO_MANY = Reply("too_many_connections", Outcome.TOO_MANY_CONNECTIONS)
NOT_AUTHENTICATED = Reply("not_authenticated", Outcome.NOT_AUTHENTICATED, "unauthenticated")

QUIT: Final = Request(b"quit\r\n", None, "", None)
"""memcached closes without a word."""
_END = b"\r\n"
_LONGEST_LINE = 2048
"""Bytes. A key has 250 at most, and the words of an error are memcached's own."""
_DIGITS: Final = 10
"""Of a value's size: 32 bits."""
_ERRORS = (b"ERROR", b"SERVER_ERROR", b"CLIENT_ERROR")
_SPECIAL = {
    b"ERROR Too many open connections\r\n": TOO_MANY,
    b"CLIENT_ERROR unauthenticated\r\n": NOT_AUTHENTICATED,
    b"CLIENT_ERROR authentication failure\r\n": NOT_AUTHENTICATED,
}
_MOST_STATISTICS = 500
"""Lines. memcached 1.6 sends some 100."""


def _error(line: bytes) -> Reply:
    """Return what a line that is no answer of the command's own comes to."""
    word = line[:-2].split(b" ", 1)[0]
    if word not in _ERRORS:
        return MALFORMED
    return _SPECIAL.get(line) or Reply("server_error", Outcome.SERVER_ERROR, word.decode())


def _get(key: bytes) -> Steps:
    line = yield Until(_END, _LONGEST_LINE, (b"VALUE ", b"END\r\n", *_ERRORS))
    if line == b"END\r\n":
        return MISS
    if not line.startswith(b"VALUE "):
        return _error(line)
    fields = line[:-2].split(b" ")
    size = size_of(fields[-1], _DIGITS)
    if len(fields) != 4 or fields[1] != key or not fields[2].isdigit() or size is None:
        return MALFORMED
    yield Skip(size)
    yield Literal(b"\r\nEND\r\n")
    return HIT


def _set() -> Steps:
    line = yield Until(_END, _LONGEST_LINE, (b"STORED\r\n", b"NOT_STORED\r\n", *_ERRORS))
    if line == b"STORED\r\n":
        return STORED
    return NOT_STORED if line == b"NOT_STORED\r\n" else _error(line)


def _meta_get() -> Steps:
    line = yield Until(_END, _LONGEST_LINE, (b"VA ", b"EN\r\n", *_ERRORS))
    if line == b"EN\r\n":
        return MISS
    if not line.startswith(b"VA "):
        return _error(line)
    size = size_of(line[:-2].split(b" ")[1], _DIGITS)
    if size is None:
        return MALFORMED
    yield Skip(size)
    yield Literal(_END)
    return HIT


def _meta_set() -> Steps:
    line = yield Until(_END, _LONGEST_LINE, (b"HD", b"NS", *_ERRORS))
    word = line[:-2].split(b" ", 1)[0]
    return {b"HD": STORED, b"NS": NOT_STORED}.get(word) or _error(line)


def get_request(number: int, value: bytes) -> Request:
    """Return a `get` of key `number`, which holds `value` once seeded."""
    key = keys.key_of(number)
    hit = b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(value), value)
    return Request(b"get %b\r\n" % key, hit, HIT.name, partial(_get, key))


def set_request(number: int, value: bytes) -> Request:
    """Return a `set` of key `number` to `value`, without expiry."""
    data = b"set %b 0 0 %d\r\n%b\r\n" % (keys.key_of(number), len(value), value)
    return Request(data, b"STORED\r\n", STORED.name, _set)


def meta_get_request(number: int, value: bytes) -> Request:
    """Return an `mg` of key `number` that asks for the value."""
    hit = b"VA %d\r\n%b\r\n" % (len(value), value)
    return Request(b"mg %b v\r\n" % keys.key_of(number), hit, HIT.name, _meta_get)


def meta_set_request(number: int, value: bytes) -> Request:
    """Return an `ms` of key `number` to `value`, without expiry."""
    data = b"ms %b %d\r\n%b\r\n" % (keys.key_of(number), len(value), value)
    return Request(data, b"HD\r\n", STORED.name, _meta_set)


def _authenticate(credentials: Credentials | None) -> Request | None:
    """Return what memcached started with an authfile (-Y) wants first: a `set` of any key."""
    if credentials is None:
        return None
    value = f"{credentials.user} {credentials.password}".encode()
    return Request(b"set auth 0 0 %d\r\n%b\r\n" % (len(value), value), b"STORED\r\n", "", _set)


def _gets(op: str) -> float:
    if op in {"mg", "ms"}:
        return 1.0 if op == "mg" else 0.0
    try:
        return parse_mix(op)
    except ValueError:
        raise ValueError(
            f"{op!r} is not an operation of memcached: write get, set, mix:90/10, mg or ms"
        ) from None


def _scripts(config: RunConfig, credentials: Credentials | None, seed: int) -> list[Script]:
    meta = config.op in {"mg", "ms"}
    drawn = keys.draw(
        meta_get_request if meta else get_request,
        meta_set_request if meta else set_request,
        gets=config.gets,
        key_space=config.key_space,
        value_size=config.value_size,
        seed=seed,
    )
    return [keys.script(drawn, _authenticate(credentials), QUIT)] * len(config.targets)


def _seed(config: RunConfig, credentials: Credentials | None) -> Iterator[Request]:
    return keys.stored(config, _authenticate(credentials), set_request)


def _stats() -> Steps:
    lines: list[bytes] = []
    for _ in range(_MOST_STATISTICS):
        line = yield Until(_END, _LONGEST_LINE, (b"STAT ", b"END\r\n", *_ERRORS))
        if line == b"END\r\n":
            return Reply("statistics", text=b"".join(lines))
        if not line.startswith(b"STAT "):
            return _error(line)
        lines.append(line)
    return MALFORMED


def _fields(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in text.split(_END):
        _, _, rest = line.partition(b" ")
        name, _, value = rest.partition(b" ")
        yield name, value


def statistics(credentials: Credentials | None = None) -> Statistics:
    """Return how a memcached is asked for its figures."""
    return Statistics(
        program="memcached",
        command="stats",
        request=Request(b"stats\r\n", None, "", _stats),
        select=figures.selector("memcached", MEMCACHED, _fields),
        metrics=MEMCACHED,
        opening=_authenticate(credentials),
    )


PROTOCOL = Protocol(
    name="memcached",
    gets=_gets,
    scripts=_scripts,
    closes=close_modes("memcached's FIN first (quit)"),
    seed=_seed,
    statistics=lambda _, credentials: statistics(credentials),
)
