"""memcached's replies, whole, cut at every byte, and as garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.outcome import Outcome
from loadgen.protocols.keys import LONGEST_VALUE, draw, key_of, value_of
from loadgen.protocols.memcached import (
    HIT,
    MISS,
    NOT_STORED,
    PROTOCOL,
    STORED,
    TOO_MANY,
    get_request,
    meta_get_request,
    meta_set_request,
    set_request,
)
from loadgen.protocols.parsing import MALFORMED, Reply
from loadgen.protocols.seam import Request
from tests.loadgen.builders import run_config
from tests.loadgen.protocols.pieces import cut, noise, places, read

LONGEST_KEY = 250
"""Bytes (memcached, doc/protocol.txt)."""
GET = get_request(7, value_of(20))
SET = set_request(7, value_of(20))
META_GET = meta_get_request(7, value_of(20))
META_SET = meta_set_request(7, value_of(20))
ALL = (GET, SET, META_GET, META_SET)


def _error(word: str) -> Reply:
    return Reply("server_error", Outcome.SERVER_ERROR, word)


COMPLETE = [
    (GET, b"VALUE churnlab:7 0 20\r\n" + value_of(20) + b"\r\nEND\r\n", HIT),
    (GET, b"VALUE churnlab:7 4294967295 3\r\nabc\r\nEND\r\n", HIT),
    (GET, b"VALUE churnlab:7 0 0\r\n\r\nEND\r\n", HIT),
    (GET, b"VALUE churnlab:7 0 12\r\n\r\nEND\r\nEND\r\n\r\nEND\r\n", HIT),
    (GET, b"END\r\n", MISS),
    (SET, b"STORED\r\n", STORED),
    (SET, b"NOT_STORED\r\n", NOT_STORED),
    (META_GET, b"VA 20\r\n" + value_of(20) + b"\r\n", HIT),
    (META_GET, b"VA 3 s3 t-1\r\nabc\r\n", HIT),
    (META_GET, b"VA 0\r\n\r\n", HIT),
    (META_GET, b"EN\r\n", MISS),
    (META_SET, b"HD\r\n", STORED),
    (META_SET, b"HD b\r\n", STORED),
    (META_SET, b"NS\r\n", NOT_STORED),
    *(
        (request, line, reply)
        for request in ALL
        for line, reply in (
            (b"ERROR\r\n", _error("ERROR")),
            (b"SERVER_ERROR out of memory storing object\r\n", _error("SERVER_ERROR")),
            (b"CLIENT_ERROR bad data chunk\r\n", _error("CLIENT_ERROR")),
            (b"SERVER_ERROR\r\n", _error("SERVER_ERROR")),
            (b"ERROR Too many open connections\r\n", TOO_MANY),
        )
    ),
]


@pytest.mark.parametrize(("request_", "data", "reply"), COMPLETE)
def test_a_reply_is_judged_only_when_its_last_byte_is_there(
    request_: Request, data: bytes, reply: Reply
) -> None:
    for length in range(len(data)):
        assert read(request_, data[:length]) is None, data[:length]
    assert read(request_, data) == reply


@pytest.mark.parametrize(("request_", "data", "reply"), COMPLETE)
@given(where=places)
def test_the_pieces_of_a_reply_make_no_difference(
    request_: Request, data: bytes, reply: Reply, where: list[int]
) -> None:
    assert read(request_, *cut(data, where)) == reply


@pytest.mark.parametrize(
    ("request_", "data"),
    [
        (GET, b"\x00"),
        (GET, b"\r\n"),
        (GET, b"HTTP/1.1 400 Bad Request\r\n"),
        (GET, b"end\r\n"),
        (GET, b"ENDING"),
        (GET, b"END\n"),
        (GET, b"ERRORS\r\n"),
        (GET, b"STORED\r\n"),
        (GET, b"NOT_STORED\r\n"),
        (GET, b"VALUES"),
        (GET, b"VALUE churnlab:8 0 3\r\n"),
        (GET, b"VALUE churnlab:77 0 3\r\n"),
        (GET, b"VALUE churnlab:7 0\r\n"),
        (GET, b"VALUE churnlab:7 0 3 99\r\n"),
        (GET, b"VALUE churnlab:7 x 3\r\n"),
        (GET, b"VALUE churnlab:7 0 -3\r\n"),
        (GET, b"VALUE churnlab:7 0 99999999999\r\n"),
        (GET, b"VALUE churnlab:7 0 3\r\nabcd"),
        (GET, b"VALUE churnlab:7 0 3\r\nabc\r\nSTORED\r\n"),
        (GET, b"VALUE " + b"x" * 3000),
        (GET, b"ERROR " + b"x" * 3000),
        (SET, b"VALUE churnlab:7 0 3\r\n"),
        (SET, b"END\r\n"),
        (SET, b"STORED \r\n"),
        (SET, b"EXISTS\r\n"),
        (META_GET, b"VA\r\n"),
        (META_GET, b"VA x\r\n"),
        (META_GET, b"VA -3\r\n"),
        (META_GET, b"VA \r\n"),
        (META_GET, b"VA 3\r\nabcEN"),
        (META_GET, b"HD\r\n"),
        (META_SET, b"HDX\r\n"),
        (META_SET, b"STORED\r\n"),
    ],
)
def test_what_is_not_the_protocol_is_malformed(request_: Request, data: bytes) -> None:
    assert read(request_, data) is MALFORMED


_noise = noise(
    *(b"VALUE ", b"churnlab:7", b" 0 ", b"3", b"\r\n", b"abc", b"END", b"STORED", b"ERROR"),
    *(b"VA ", b"EN", b"HD", b"NS", b"-1", b"CLIENT_ERROR "),
)


@given(st.sampled_from(ALL), _noise, places)
def test_no_bytes_raise_and_the_pieces_make_no_difference(
    request: Request, data: bytes, where: list[int]
) -> None:
    assert read(request, *cut(data, where)) == read(request, data)


@given(
    number=st.integers(0, 10**9),
    flags=st.integers(0, 2**32 - 1),
    value=st.binary(max_size=200),
    where=st.floats(0, 1, exclude_max=True),
)
def test_a_part_of_a_good_reply_is_never_judged_complete(
    number: int, flags: int, value: bytes, where: float
) -> None:
    """The value may hold line ends and even `END`: only its announced size counts."""
    request = get_request(number, b"")
    whole = b"VALUE %b %d %d\r\n%b\r\nEND\r\n" % (key_of(number), flags, len(value), value)
    assert read(request, whole) == HIT
    assert read(request, whole[: int(where * len(whole))]) is None


def test_requests_carry_the_reply_that_they_usually_get() -> None:
    assert GET.data == b"get churnlab:7\r\n"
    assert SET.data == b"set churnlab:7 0 0 20\r\nchurnlabchurnlabchur\r\n"
    assert META_GET.data == b"mg churnlab:7 v\r\n"
    assert META_SET.data == b"ms churnlab:7 20\r\nchurnlabchurnlabchur\r\n"
    for request in ALL:
        assert request.usual_reply
        reply = read(request, request.usual_reply)
        assert reply is not None
        assert reply.name == request.usual


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100])
def test_a_value_has_its_size(size: int) -> None:
    assert len(value_of(size)) == size


def test_every_key_is_short_enough() -> None:
    assert len(key_of(10_000_000)) <= LONGEST_KEY


def _draw(gets: float, key_space: int, value_size: int, *, count: int, seed: int) -> list[Request]:
    return draw(
        get_request,
        set_request,
        gets=gets,
        key_space=key_space,
        value_size=value_size,
        count=count,
        seed=seed,
    )


@pytest.mark.parametrize(("gets", "share"), [(1.0, 1.0), (0.0, 0.0), (0.9, 0.9)])
def test_a_mix_has_its_share_of_gets(gets: float, share: float) -> None:
    drawn = _draw(gets, 100, 10, count=10_000, seed=5)
    found = sum(request.data.startswith(b"get") for request in drawn) / len(drawn)
    assert found == pytest.approx(share, abs=0.015)
    assert len({request.data.split()[1] for request in drawn}) == 100


def test_requests_are_the_same_for_the_same_seed_only() -> None:
    first = [r.data for r in _draw(0.5, 100, 10, count=50, seed=1)]
    assert first == [r.data for r in _draw(0.5, 100, 10, count=50, seed=1)]
    assert first != [r.data for r in _draw(0.5, 100, 10, count=50, seed=2)]


def test_large_values_make_fewer_requests_not_more_memory() -> None:
    drawn = _draw(1.0, 10_000, LONGEST_VALUE, count=16_384, seed=1)
    assert 16 <= len(drawn) < 100


def test_seeding_covers_every_key_once() -> None:
    assert PROTOCOL.seed is not None
    seeded = PROTOCOL.seed(run_config(key_space=1201, value_size=5), None)
    assert [r.data for r in seeded] == [set_request(n, value_of(5)).data for n in range(1201)]


@pytest.mark.parametrize(
    ("op", "gets"), [("get", 1.0), ("set", 0.0), ("mix:9/1", 0.9), ("mg", 1.0), ("ms", 0.0)]
)
def test_an_operation_says_how_much_of_it_asks_for_keys(op: str, gets: float) -> None:
    assert PROTOCOL.gets(op) == gets


@pytest.mark.parametrize("op", ["", "mgs", "mix:0/0", "ping", "GET"])
def test_an_operation_that_is_none_names_those_that_are(op: str) -> None:
    with pytest.raises(ValueError, match="write get, set, mix:90/10, mg or ms"):
        PROTOCOL.gets(op)
