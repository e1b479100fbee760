"""The parser under every protocol: what it hands over, what it refuses, what it keeps."""

from __future__ import annotations

import sys
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.outcome import Outcome
from loadgen.protocols.parsing import (
    MALFORMED,
    Exactly,
    Literal,
    Memory,
    Need,
    Parser,
    Reply,
    Rest,
    Skip,
    Steps,
    ToEnd,
    Until,
)
from tests.loadgen.protocols.pieces import cut, places

_LINE = Until(b"\r\n", 8)


def _parser(*needs: Need) -> tuple[Parser, list[bytes]]:
    """Return a parser that wants these in turn, and what it was handed."""
    handed: list[bytes] = []

    def steps() -> Steps:
        for need in needs:
            piece = yield need
            handed.append(piece)
        return Reply("whole")

    return Parser(steps()), handed


@pytest.mark.parametrize(
    ("needs", "data", "handed", "rest"),
    [
        ((), b"", [], b""),
        ((_LINE,), b"ab\r\n", [b"ab\r\n"], b""),
        ((_LINE, _LINE), b"a\r\n\r\nb", [b"a\r\n", b"\r\n"], b"b"),
        ((_LINE,), b"123456\r\n", [b"123456\r\n"], b""),
        ((Until(b"\r\n", 8, (b"ab", b"x")),), b"xy\r\n", [b"xy\r\n"], b""),
        ((Exactly(3),), b"\r\n\0", [b"\r\n\0"], b""),
        ((Exactly(0), Literal(b"")), b"", [b"", b""], b""),
        ((Literal(b"END"),), b"END", [b"END"], b""),
        ((Skip(4), Literal(b"!")), b"abcd!", [b"", b"!"], b""),
        ((Literal(b"a"), Rest()), b"abc", [b"a", b"bc"], b""),
    ],
)
def test_each_need_is_handed_what_it_asked_for(
    needs: tuple[Need, ...], data: bytes, handed: list[bytes], rest: bytes
) -> None:
    parser, seen = _parser(*needs)
    assert parser.feed(data) == Reply("whole")
    assert (seen, parser.rest) == (handed, rest)


@pytest.mark.parametrize(
    ("need", "data"),
    [
        (_LINE, b"1234567\r\n"),  # the mark would end one byte too late
        (_LINE, b"12345678"),
        (Until(b"\r\n", 8, (b"ab", b"x")), b"b"),
        (Until(b"\r\n", 8, (b"ab", b"x")), b"ac"),
        (Literal(b"END"), b"EN\0"),
    ],
)
def test_what_cannot_become_what_was_asked_for_is_malformed_at_once(
    need: Need, data: bytes
) -> None:
    parser, handed = _parser(need)
    assert parser.feed(data) is MALFORMED
    assert parser.feed(b"more") is MALFORMED
    assert handed == []


def test_only_what_lasts_to_the_end_ends_with_the_stream() -> None:
    for need in (_LINE, Exactly(2), Literal(b"ab"), Skip(2)):
        parser, _ = _parser(need)
        assert parser.feed(b"a") is None
        assert parser.end() is None
    parser, handed = _parser(ToEnd())
    assert parser.feed(b"anything") is None
    assert parser.end() == Reply("whole")
    assert handed == [b""]


_needs = st.lists(
    st.one_of(
        st.just(_LINE),
        st.builds(Exactly, st.integers(0, 5)),
        st.builds(Skip, st.integers(0, 5)),
        st.builds(Literal, st.sampled_from([b"", b"a", b"\r\n", b"ab"])),
        st.just(Until(b"\r\n", 8, (b"ab", b"a\r", b"b"))),
    ),
    max_size=5,
)


@given(
    _needs,
    st.lists(st.sampled_from([b"a", b"b", b"ab", b"\r\n", b"\r", b"\n", b"12345678"])),
    places,
)
def test_the_pieces_make_no_difference(
    needs: list[Need], words: list[bytes], where: list[int]
) -> None:
    data = b"".join(words)
    whole, handed = _parser(*needs)
    whole.feed(data)
    parts, handed_in_parts = _parser(*needs)
    for piece in cut(data, where) or [b""]:
        parts.feed(piece)
    assert parts.result == whole.result
    assert handed_in_parts == handed


@pytest.mark.parametrize("need", [Skip(10**12), ToEnd(), Until(b"\r\n", 4096)])
def test_a_server_that_never_ends_costs_no_memory(need: Need) -> None:
    parser, _ = _parser(need)
    for _ in range(1000):
        parser.feed(b"A" * 65_536)
    held = sum(sys.getsizeof(getattr(parser, name)) for name in ("_held", "rest"))
    assert held < 10_000
    if isinstance(need, Until):
        assert parser.result is not None
        assert parser.result.outcome is Outcome.MALFORMED_REPLY


def test_a_reply_known_by_heart_is_what_reading_it_comes_to() -> None:
    def begins() -> Steps:
        line = yield Until(b"\n", 8)
        return Reply(line.decode())

    memory = Memory()
    parsers = []
    for data in (b"one\n", b"one\n", b"one\nmore", b"on", b"one\n", b"two\n", b"two\n"):
        parser, reply = memory.read(begins, data)
        parsers.append(parser is not None)
        assert (reply is None) == (b"\n" not in data)
        assert reply is None or reply == Parser(begins()).feed(data)
        assert (parser.rest if parser else b"") == data.partition(b"\n")[2]
    assert parsers == [True, False, True, True, False, True, False]
    assert memory.read(partial(begins), b"two\n")[0] is not None, "another's grammar"
