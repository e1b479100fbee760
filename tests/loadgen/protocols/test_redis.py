"""Redis' replies, whole, in pieces, and as garbage; and what is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.outcome import Outcome
from loadgen.protocols import redis
from loadgen.protocols.keys import value_of
from loadgen.protocols.parsing import MALFORMED, Reply
from loadgen.protocols.redis import (
    HIT,
    MISS,
    PING,
    PONG,
    PROTOCOL,
    STORED,
    command,
    get_request,
    set_request,
)
from loadgen.protocols.seam import Request
from loadgen.target import Credentials
from tests.loadgen.builders import run_config
from tests.loadgen.protocols.pieces import cut, noise, places, read

GET = get_request(7, value_of(20))
SET = set_request(7, value_of(20))
INFO = redis.statistics().request
LOCKED = PROTOCOL.scripts(run_config(), Credentials("", "secret"), 1)[0].first[0]
ALL = (GET, SET, PING, INFO, LOCKED)


def _error(word: str) -> Reply:
    return Reply("server_error", Outcome.SERVER_ERROR, word)


def _locked(word: str) -> Reply:
    return Reply("not_authenticated", Outcome.NOT_AUTHENTICATED, word)


ERRORS = [
    (b"-ERR unknown command\r\n", _error("ERR")),
    (b"-MOVED 3999 127.0.0.1:6381\r\n", _error("MOVED")),
    (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", _error("OOM")),
    (b"-\r\n", _error("ERR")),
    (b"-\x1b]0;X\x07 said\r\n", _error("ERR")),
    (b"-" + b"A" * 300 + b"\r\n", _error("ERR")),
    (b"-ERR max number of clients reached\r\n",
     Reply("too_many_connections", Outcome.TOO_MANY_CONNECTIONS)),
    (b"-ERR max number of clients + cluster connections reached\r\n",
     Reply("too_many_connections", Outcome.TOO_MANY_CONNECTIONS)),
    (b"-NOAUTH Authentication required.\r\n", _locked("NOAUTH")),
    (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", _locked("WRONGPASS")),
    (b"-ERR invalid password\r\n", _locked("ERR")),
    (b"-ERR AUTH <password> called without any password configured for the default user. Are you "
     b"sure your configuration is correct?\r\n", _locked("ERR")),
    (b"-LOADING Redis is loading the dataset in memory\r\n",
     Reply("loading", Outcome.SERVER_LOADING, "LOADING")),
]  # fmt: skip
COMPLETE = [
    (GET, b"$20\r\n" + value_of(20) + b"\r\n", HIT),
    (GET, b"$0\r\n\r\n", HIT),
    (GET, b"$5\r\n\r\n$-1\r\n", HIT),
    (GET, b"$-1\r\n", MISS),
    (SET, b"+OK\r\n", STORED),
    (PING, b"+PONG\r\n", PONG),
    (INFO, b"$9\r\n# Clients\r\n", Reply("statistics", text=b"# Clients")),
    (LOCKED, b"+OK\r\n$20\r\n" + value_of(20) + b"\r\n", HIT),
    *((request, line, reply) for request in ALL for line, reply in ERRORS),
    (LOCKED, b"+OK\r\n-LOADING so\r\n", Reply("loading", Outcome.SERVER_LOADING, "LOADING")),
]


@pytest.mark.parametrize(("request_", "data", "reply"), COMPLETE)
def test_a_reply_is_judged_when_its_last_byte_is_there(
    request_: Request, data: bytes, reply: Reply
) -> None:
    for length in range(len(data)):
        assert read(request_, data[:length]) is None, data[:length]
    assert read(request_, data) == reply
    assert read(request_, *(bytes([byte]) for byte in data)) == reply


@pytest.mark.parametrize(
    ("request_", "data"),
    [
        (GET, b"\x00"),
        (GET, b"+OK\r\n"),
        (GET, b"*1\r\n"),
        (GET, b"$-2\r\n"),
        (GET, b"$x\r\n"),
        (GET, b"$\r\n"),
        (GET, b"$9999999999\r\n"),
        (GET, b"$999999999\r\n"),
        (GET, b"$3\r\nabcd"),
        (GET, b"-" + b"A" * 2000),
        (SET, b"+OKAY\r\n"),
        (SET, b"$2\r\nOK\r\n"),
        (PING, b"+OK\r\n"),
        (INFO, b"$70000\r\n"),
        (LOCKED, b"$20\r\n"),
    ],
)
def test_what_is_not_the_protocol_is_malformed(request_: Request, data: bytes) -> None:
    assert read(request_, data) is MALFORMED


_noise = noise(
    *(b"$", b"+OK", b"+PONG", b"-", b"-1", b"3", b"20", b"\r\n", b"abc", b"*2", b"ERR "),
    *(b"LOADING", b"NOAUTH"),
)


@given(st.sampled_from(ALL), _noise, places)
def test_no_bytes_raise_and_the_pieces_make_no_difference(
    request: Request, data: bytes, where: list[int]
) -> None:
    assert read(request, *cut(data, where)) == read(request, data)


def test_requests_carry_the_reply_that_they_usually_get() -> None:
    assert GET.data == b"*2\r\n$3\r\nGET\r\n$10\r\nchurnlab:7\r\n"
    assert SET.data == b"*3\r\n$3\r\nSET\r\n$10\r\nchurnlab:7\r\n$20\r\nchurnlabchurnlabchur\r\n"
    for request in (GET, SET, PING, LOCKED):
        assert request.usual_reply
        reply = read(request, request.usual_reply)
        assert reply is not None
        assert reply.name == request.usual


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (Credentials("", "x"), (b"AUTH", b"x")),
        (Credentials("ann", "x"), (b"AUTH", b"ann", b"x")),
    ],
)
def test_the_password_goes_before_the_first_request_and_into_no_other(
    credentials: Credentials, words: tuple[bytes, ...]
) -> None:
    script = PROTOCOL.scripts(run_config(op="ping"), credentials, 1)[0]
    assert script.first[0].data == command(*words) + PING.data
    assert script.later[0].data == script.last[0].data == PING.data
    assert PROTOCOL.seed is not None
    assert next(PROTOCOL.seed(run_config(), credentials)).data == command(*words)


def test_the_figures_of_info() -> None:
    text = (
        b"# Clients\r\nconnected_clients:7\r\nmaxclients:10000\r\n\r\n# Stats\r\n"
        b"rejected_connections:3\r\nused_cpu_user:0.52\r\nredis_version:7.0.15\r\n"
        b"blocked_clients:-1\r\nkeyspace_hits:1e9\r\nkeyspace_misses:\xff\r\nno colon\r\n"
    )
    assert redis.statistics().select(text) == {
        "redis_connected_clients": 7,
        "redis_maxclients": 10000,
        "redis_rejected_connections": 3,
        "redis_used_cpu_user": 0.52,
    }


@given(st.binary(max_size=200))
def test_no_figures_raise(text: bytes) -> None:
    assert all(isinstance(v, int | float) for v in redis.statistics().select(text).values())


@pytest.mark.parametrize("op", ["", "mg", "head", "mix:0/0"])
def test_an_operation_that_is_none_names_those_that_are(op: str) -> None:
    with pytest.raises(ValueError, match="write get, set, mix:90/10 or ping"):
        PROTOCOL.gets(op)
