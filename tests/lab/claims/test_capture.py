"""Segments: parsed, counted, and sent again."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.claims.capture import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    Segment,
    before_close,
    ended,
    parse_frame,
    round_trips,
    with_checksum,
)


def frame(flags: int, payload: bytes = b"", *, options: int = 0, padding: int = 0) -> bytes:
    """An Ethernet frame with a TCP segment from port 40000 to 11211, its checksum left out."""
    tcp = struct.pack(
        "!HHIIBBHHH", 40_000, 11_211, 1, 2, (5 + options) << 4, flags, 64, 0, 0
    ) + bytes(4 * options)
    total = 20 + len(tcp) + len(payload)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, total, 0, 0, 64, 6, 0) + bytes(
        (198, 18, 0, 1, 198, 19, 0, 1)
    )
    return bytes(12) + b"\x08\x00" + ip + tcp + payload + bytes(padding)


def said(text: str) -> list[Segment]:
    """Segments from `> SYN`, `< SYN ACK`, `> ACK 5`: direction, flags, bytes; one a comma."""
    names = {"SYN": SYN, "ACK": ACK, "FIN": FIN, "RST": RST, "PSH": PSH}
    found = []
    for part in text.split(","):
        direction, *words = part.split()
        flags = sum(names[word] for word in words if word in names)
        payload = sum(int(word) for word in words if word.isdigit())
        found.append(Segment(direction == ">", 1, 2, flags, payload))
    return found


OPENING = "> SYN, < SYN ACK, > ACK"
GET = f"{OPENING}, > PSH ACK 14, < ACK, < PSH ACK 5, > ACK"
CLASSIC = f"{GET}, > FIN ACK, < FIN ACK, > ACK"


@pytest.mark.parametrize("padding", [0, 6])
def test_a_segment_is_read_whatever_pads_its_frame(padding: int) -> None:
    found = parse_frame(frame(PSH | ACK, b"get x\r\n", options=3, padding=padding), sent=True)
    assert found is not None
    assert (found.source_port, found.destination_port) == (40_000, 11_211)
    assert (found.payload, found.sent) == (7, True)
    assert str(found) == "ACK +7 bytes"


@pytest.mark.parametrize(
    "other",
    [
        b"",
        bytes(60),
        bytes(12) + b"\x86\xdd" + bytes(60),  # IPv6
        bytes(12) + b"\x08\x06" + bytes(28),  # ARP
        frame(SYN)[:40],
        frame(SYN)[:23] + b"\x11" + frame(SYN)[24:],  # UDP
    ],
)
def test_what_is_no_segment_is_passed_over(other: bytes) -> None:
    assert parse_frame(other, sent=False) is None


@given(st.binary(max_size=200))
def test_any_bytes_can_be_captured(data: bytes) -> None:
    parse_frame(data, sent=True)
    parse_frame(frame(ACK)[:30] + data, sent=True)


@given(st.binary(max_size=64))
def test_the_checksum_is_the_one_a_receiver_computes(payload: bytes) -> None:
    """Sixteen-bit words of pseudo header and segment add up to all ones (RFC 1071)."""
    whole = with_checksum(frame(PSH | ACK, payload))
    segment = whole[34:]
    data = whole[26:34] + struct.pack("!HH", 6, len(segment)) + segment + b"\0" * (len(segment) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
    assert whole[:50] == frame(PSH | ACK, payload)[:50]


@pytest.mark.parametrize(
    ("connection", "trips", "waited"),
    [
        (CLASSIC, 3, 2),
        (OPENING, 1, 1),
        (f"{GET}, > RST ACK", 2, 2),
        # quit: the server's FIN answers the request to close
        (f"{GET}, > PSH ACK 6, < FIN ACK, > FIN ACK, < ACK", 3, 2),
        # a server that speaks twice in one turn is waited for once
        (f"{OPENING}, > ACK 14, < ACK 5, < ACK 5, > ACK", 2, 2),
        ("> SYN, > SYN", 0, 0),
    ],
)
def test_round_trips_are_what_the_client_waits_for(
    connection: str, trips: int, waited: int
) -> None:
    segments = said(connection)
    assert round_trips(segments) == trips
    assert round_trips(before_close(segments)) == waited


@pytest.mark.parametrize(
    ("connection", "over"),
    [
        (CLASSIC, True),
        (CLASSIC.rpartition(",")[0], False),
        (GET, False),
        (f"{GET}, > FIN ACK, < ACK", False),
        (f"{GET}, > RST", True),
        (f"{GET}, > FIN ACK, < ACK, < FIN ACK, > ACK", True),
    ],
)
def test_a_connection_is_over_when_both_have_closed(connection: str, over: bool) -> None:
    assert ended(said(connection)) is over


def test_flags_are_named_as_people_name_them() -> None:
    assert [str(one) for one in said("> SYN, < SYN ACK, > ACK, > PSH ACK 3, > FIN ACK")] == [
        "SYN", "SYN/ACK", "ACK", "ACK +3 bytes", "FIN/ACK",
    ]  # fmt: skip
