"""Durations and bytes: what people write, and what they get to read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.units import (
    format_bytes,
    format_duration,
    parse_bytes,
    parse_duration,
    spaced,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", 60.0),
        ("250ms", 0.25),
        ("0.6ms", 0.0006),
        ("15us", 15e-6),
        ("15µs", 15e-6),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1m30s", 90.0),
        ("30s1m", 90.0),
        (".5s", 0.5),
        ("5.", 5.0),
        ("10", 10.0),
        (" 3 s ", 3.0),
        ("0", 0.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "s", "fast", "-1s", "1d", "1m30", "1m 30s", "1,5s", "1s!", "1e3s", "."]
)
def test_what_is_no_duration_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration: write 250ms, 5s, 1m30s"):
        parse_duration(text)


@given(st.text(alphabet="0123456789.smhuµ -x", max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (1e-6, "1 µs"),
        (0.000_123_4, "123 µs"),
        (0.000_999_6, "1 ms"),
        (0.001, "1 ms"),
        (0.25, "250 ms"),
        (0.9996, "1 s"),
        (1.0, "1 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (-0.25, "-250 ms"),
    ],
)
def test_a_duration_is_shown_in_the_unit_a_reader_expects(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(1e-6, 50_000))
def test_what_is_shown_reads_back_within_its_three_digits(seconds: float) -> None:
    shown = format_duration(seconds).replace(" ", "").replace("min", "m")
    assert "e" not in shown
    assert parse_duration(shown) == pytest.approx(seconds, rel=0.0051)


@pytest.mark.parametrize("text", ["9e18", "1" * 400, "8785h", "999999999999s"])
def test_a_duration_beyond_any_clock_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"is too long: at most|is not a duration") as caught:
        parse_duration(text)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        (r"PING\r\n", b"PING\r\n"),
        (r"\t\0\x00\xfF\\n", b"\t\0\0\xff\\n"),
        ("ä", "ä".encode()),
        ("\udcff", b"\xff"),  # as an argument that is not UTF-8 reaches a program
    ],
)
def test_bytes_are_read(text: str, data: bytes) -> None:
    assert parse_bytes(text) == data


@pytest.mark.parametrize("text", ["\\", r"\q", r"\x", r"\x1", r"\xgg", r"a\ä"])
def test_a_backslash_before_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="after a backslash comes"):
        parse_bytes(text)


@given(st.binary(max_size=60))
def test_written_bytes_are_printable_and_read_back(data: bytes) -> None:
    assert format_bytes(data).isascii()
    assert format_bytes(data).isprintable()
    assert parse_bytes(format_bytes(data)) == data


@given(st.text(max_size=30))
def test_any_text_is_bytes_or_a_value_error(text: str) -> None:
    try:
        parse_bytes(text)
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("text", "kept"),
    [("5000\t65000\n", "5000 65000"), ("  bbr ", "bbr"), ("a\n\nb", "a b"), ("\n", ""), ("", "")],
)
def test_words_are_parted_by_single_blanks(text: str, kept: str) -> None:
    assert spaced(text) == kept
