"""memcached's replies, whole, cut at every byte, and as garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.engine import protocol
from loadgen.engine.protocol import (
    Reply,
    Request,
    get_request,
    key_of,
    parse_reply,
    requests,
    seed_items,
    set_request,
    value_of,
)

GET = get_request(7, value_of(20))
SET = set_request(7, value_of(20))

COMPLETE = [
    (GET, b"VALUE churnlab:7 0 20\r\n" + value_of(20) + b"\r\nEND\r\n", Reply.HIT),
    (GET, b"VALUE churnlab:7 4294967295 3\r\nabc\r\nEND\r\n", Reply.HIT),
    (GET, b"VALUE churnlab:7 0 0\r\n\r\nEND\r\n", Reply.HIT),
    (GET, b"VALUE churnlab:7 0 12\r\n\r\nEND\r\nEND\r\n\r\nEND\r\n", Reply.HIT),
    (GET, b"END\r\n", Reply.MISS),
    (SET, b"STORED\r\n", Reply.STORED),
    (SET, b"NOT_STORED\r\n", Reply.NOT_STORED),
    *(
        (request, line, reply)
        for request in (GET, SET)
        for line, reply in (
            (b"ERROR\r\n", Reply.SERVER_ERROR),
            (b"SERVER_ERROR out of memory storing object\r\n", Reply.SERVER_ERROR),
            (b"CLIENT_ERROR bad data chunk\r\n", Reply.SERVER_ERROR),
            (b"SERVER_ERROR\r\n", Reply.SERVER_ERROR),
            (b"ERROR Too many open connections\r\n", Reply.TOO_MANY_CONNECTIONS),
        )
    ),
]


@pytest.mark.parametrize(("request_", "data", "reply"), COMPLETE)
def test_a_reply_is_judged_only_when_its_last_byte_is_there(
    request_: Request, data: bytes, reply: Reply
) -> None:
    for length in range(len(data)):
        assert parse_reply(request_, data[:length]) is Reply.INCOMPLETE, data[:length]
    assert parse_reply(request_, data) is reply


@pytest.mark.parametrize(("request_", "data", "reply"), COMPLETE)
def test_bytes_after_a_complete_reply_are_not_the_protocol(
    request_: Request, data: bytes, reply: Reply
) -> None:
    assert parse_reply(request_, data + b"x") is Reply.MALFORMED
    assert parse_reply(request_, data + data) is Reply.MALFORMED


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
    ],
)
def test_what_is_not_the_protocol_is_malformed(request_: Request, data: bytes) -> None:
    assert parse_reply(request_, data) is Reply.MALFORMED


_noise = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [b"VALUE ", b"churnlab:7", b" 0 ", b"3", b"\r\n", b"abc", b"END", b"STORED", b"ERROR"]
        ),
        max_size=9,
    ).map(b"".join),
)


@given(st.sampled_from([GET, SET]), _noise)
def test_no_bytes_raise(request: Request, data: bytes) -> None:
    assert isinstance(parse_reply(request, data), Reply)


@given(st.sampled_from([GET, SET]), _noise, st.binary(min_size=1, max_size=5))
def test_garbage_stays_garbage_whatever_follows(request: Request, data: bytes, more: bytes) -> None:
    if parse_reply(request, data) is Reply.MALFORMED:
        assert parse_reply(request, data + more) is Reply.MALFORMED


@given(
    number=st.integers(0, 10**9),
    flags=st.integers(0, 2**32 - 1),
    value=st.binary(max_size=200),
    cut=st.floats(0, 1, exclude_max=True),
)
def test_a_part_of_a_good_reply_is_never_judged_complete(
    number: int, flags: int, value: bytes, cut: float
) -> None:
    """The value may hold line ends and even `END`: only its announced size counts."""
    request = get_request(number, b"")
    whole = b"VALUE %b %d %d\r\n%b\r\nEND\r\n" % (request.key, flags, len(value), value)
    assert parse_reply(request, whole) is Reply.HIT
    assert parse_reply(request, whole[: int(cut * len(whole))]) is Reply.INCOMPLETE


def test_requests_carry_the_reply_that_they_usually_get() -> None:
    assert GET.data == b"get churnlab:7\r\n"
    assert SET.data == b"set churnlab:7 0 0 20\r\nchurnlabchurnlabchur\r\n"
    assert (parse_reply(GET, GET.usual_reply), GET.usual) == (Reply.HIT, Reply.HIT)
    assert (parse_reply(SET, SET.usual_reply), SET.usual) == (Reply.STORED, Reply.STORED)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100])
def test_a_value_has_its_size(size: int) -> None:
    assert len(value_of(size)) == size


def test_every_key_is_short_enough() -> None:
    assert len(key_of(10_000_000)) <= protocol.LONGEST_KEY


@pytest.mark.parametrize(("gets", "share"), [(1.0, 1.0), (0.0, 0.0), (0.9, 0.9)])
def test_a_mix_has_its_share_of_gets(gets: float, share: float) -> None:
    drawn = requests(gets, 100, 10, count=10_000, seed=5)
    found = sum(request.operation == "get" for request in drawn) / len(drawn)
    assert found == pytest.approx(share, abs=0.015)
    assert len({request.key for request in drawn}) == 100


def test_requests_are_the_same_for_the_same_seed_only() -> None:
    first = requests(0.5, 100, 10, count=50, seed=1)
    assert first == requests(0.5, 100, 10, count=50, seed=1)
    assert first != requests(0.5, 100, 10, count=50, seed=2)


def test_large_values_make_fewer_requests_not_more_memory() -> None:
    drawn = requests(1.0, 10_000, protocol.LONGEST_VALUE, count=16_384, seed=1)
    assert 16 <= len(drawn) < 100


def test_seeding_covers_every_key_once() -> None:
    batches = list(seed_items(1201, 5, batch=500))
    assert [len(batch) for batch in batches] == [500, 500, 201]
    keys = [key for batch in batches for key in batch]
    assert keys == [key_of(number).decode() for number in range(1201)]
    assert {value for batch in batches for value in batch.values()} == {value_of(5)}
