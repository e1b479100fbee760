"""Plain TCP: bytes that the user gives, and what the answer has to begin with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.protocols.parsing import MALFORMED
from loadgen.protocols.seam import Request
from loadgen.protocols.tcp import EXPECTED, PROTOCOL
from loadgen.units import format_bytes
from tests.loadgen.builders import run_config
from tests.loadgen.protocols.pieces import cut, places, read


def _request(send: bytes = b"", expect: bytes = b"") -> Request:
    config = run_config(protocol="tcp", send=format_bytes(send), expect=format_bytes(expect))
    return PROTOCOL.scripts(config, None, 1)[0].first[0]


def test_without_anything_to_expect_no_answer_is_awaited() -> None:
    assert _request() == Request(b"", None, "connected", None)
    assert _request(b"\x00hello\r\n") == Request(b"\x00hello\r\n", None, "connected", None)


@given(st.binary(min_size=1, max_size=30), st.binary(max_size=30), places)
def test_the_answer_begins_with_what_is_expected(
    expect: bytes, more: bytes, where: list[int]
) -> None:
    request = _request(expect=expect)
    assert request.usual_reply == expect
    assert read(request, *cut(expect + more, where)) == EXPECTED
    assert read(request, expect[:-1]) is None


@given(st.binary(min_size=1, max_size=30), st.binary(min_size=1, max_size=60), places)
def test_any_other_answer_is_malformed_at_its_first_wrong_byte(
    expect: bytes, data: bytes, where: list[int]
) -> None:
    request = _request(expect=expect)
    if data.startswith(expect):
        assert read(request, *cut(data, where)) == EXPECTED
    elif expect.startswith(data):
        assert read(request, *cut(data, where)) is None
    else:
        assert read(request, *cut(data, where)) is MALFORMED


def test_what_is_said_before_a_server_closes_is_its_own_affair() -> None:
    farewell = PROTOCOL.scripts(run_config(protocol="tcp"), None, 1)[0].farewell
    assert farewell is not None
    assert read(farewell, b"bye", b"!", end=True) is not None


def test_there_is_nothing_to_choose() -> None:
    assert PROTOCOL.gets("connect") == 0.0
    with pytest.raises(ValueError, match="--op get means nothing to tcp"):
        PROTOCOL.gets("get")
