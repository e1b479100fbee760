"""The routing table's answers, as bytes and from the kernel."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.sampling.namespace import new_namespace, run_inside
from loadgen.sampling.routes import RouteReader, Way, parse, request, source_toward


def refusal(code: int) -> bytes:
    return struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -code) + bytes(16)


def route(kind: int, attributes: bytes = b"") -> bytes:
    body = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 2, 0, kind, 0) + attributes
    return struct.pack("=IHHII", 16 + len(body), 24, 0, 1, 0) + body


@pytest.mark.parametrize(
    ("answer", "way"),
    [
        (refusal(errno.ENETUNREACH), Way("routes_missing")),
        (refusal(errno.EINVAL), Way("routes_blackhole")),
        (refusal(errno.EACCES), Way("routes_prohibit")),
        (refusal(errno.EHOSTUNREACH), Way("routes_unreachable")),
        (refusal(errno.EPERM), None),
        (route(1), Way()),
        (route(6), Way("routes_blackhole")),
        (route(1, struct.pack("=HH4B", 8, 7, 198, 18, 0, 1)), Way("", "198.18.0.1")),
        (route(1, struct.pack("=HH", 0, 7)), Way()),
        (b"", None),
    ],
)
def test_answers_are_read(answer: bytes, way: Way | None) -> None:
    assert parse(answer) == way


@given(st.binary(max_size=80))
def test_damaged_answers_do_no_harm(answer: bytes) -> None:
    parse(answer)


def test_a_question_has_the_length_it_says() -> None:
    for address in ("198.18.0.1", "fd00::1"):
        asked = request(address, 1)
        assert struct.unpack_from("=I", asked) == (len(asked),)


@pytest.mark.kernel
def test_a_fresh_namespace_has_no_way_but_to_itself() -> None:
    namespace = new_namespace()
    reader = RouteReader(int(namespace), ["198.18.0.1", "198.18.0.2"])
    try:
        assert reader.read(force=True)["routes_missing"] == 2
        assert run_inside(int(namespace), lambda: source_toward(["198.18.0.1"])) == []
    finally:
        reader.close()
    assert reader.read(force=True) == {}
