"""Segments on the wire, as AF_PACKET shows them, and what can be counted in them.

A packet socket opened in a namespace sees what its devices send and receive, with the direction
(packet(7)); no capture program is needed. Parsing and counting are pure functions below; `Capture`
is the socket. Only IPv4 without fragments is read: that is all the experiments send.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lab.testbed.base import UntestableError
from lab.testbed.ground import Ground, Role
from loadgen.sample import ROLE_CLIENT

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_NAMES: Final = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (ACK, "ACK"))
_ETH_P_ALL: Final = 0x0003
_ETH_P_IP: Final = 0x0800
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS: Final = struct.Struct("=II")
DEVICE: Final = "lan"
"""The veth of `lab.testbed.netns`."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment."""

    sent: bool
    """True when the side that captures sent it."""
    source_port: int
    destination_port: int
    flags: int
    payload: int
    """Bytes of data."""
    frame: bytes = b""
    """The whole frame with its link header."""

    def __str__(self) -> str:
        """Return the flags that carry meaning, such as `SYN/ACK`, and the length of the data."""
        flags = "/".join(name for bit, name in _NAMES if self.flags & bit) or "none"
        return f"{flags} +{self.payload} bytes" if self.payload else flags


def parse_frame(frame: bytes, *, sent: bool) -> Segment | None:
    """Return the segment in an Ethernet frame, None when it holds no TCP over IPv4."""
    if len(frame) < 34 or int.from_bytes(frame[12:14], "big") != _ETH_P_IP or frame[14] >> 4 != 4:
        return None
    header = (frame[14] & 15) * 4
    total = int.from_bytes(frame[16:18], "big")
    at = 14 + header
    if frame[23] != socket.IPPROTO_TCP or header < 20 or len(frame) < at + 20:
        return None
    source, destination = struct.unpack_from("!HH", frame, at)
    payload = total - header - (frame[at + 12] >> 4) * 4
    if payload < 0:
        return None
    return Segment(sent, source, destination, frame[at + 13], payload, frame)


def with_checksum(frame: bytes) -> bytes:
    """Return an Ethernet frame with the TCP checksum filled in (RFC 9293, 3.1).

    The sender's kernel leaves it to the device, and a veth leaves it out: a frame captured on its
    way out has no valid one, and the receiver would drop the copy.
    """
    header = (frame[14] & 15) * 4
    at, end = 14 + header, 14 + int.from_bytes(frame[16:18], "big")
    segment = frame[at : at + 16] + b"\0\0" + frame[at + 18 : end]
    pseudo = frame[26:34] + struct.pack("!HH", socket.IPPROTO_TCP, len(segment))
    whole = pseudo + segment + b"\0" * (len(segment) % 2)
    total = sum(
        int.from_bytes(whole[place : place + 2], "big") for place in range(0, len(whole), 2)
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return frame[: at + 16] + struct.pack("!H", ~total & 0xFFFF) + frame[at + 18 : end]


def ended(segments: Sequence[Segment]) -> bool:
    """Tell whether a connection is over: reset, or a FIN each way and the last one acknowledged."""
    if any(segment.flags & RST for segment in segments):
        return True
    fins = [place for place, segment in enumerate(segments) if segment.flags & FIN]
    ways = {segments[place].sent for place in fins}
    if len(ways) < 2:
        return False
    last = segments[fins[-1]]
    return any(
        segment.flags & ACK and segment.sent is not last.sent
        for segment in segments[fins[-1] + 1 :]
    )


def round_trips(segments: Iterable[Segment]) -> int:
    """Return how often the client had to wait for the server, from SYN to the last FIN.

    One trip is a segment of the client and the server's first answer to it that carries something:
    SYN/ACK, data or FIN. A bare ACK is waited for by nobody, and does not count.
    """
    trips = 0
    asked = False
    for segment in segments:
        if segment.sent:
            asked = asked or bool(segment.payload or segment.flags & (SYN | FIN))
        elif asked and (segment.payload or segment.flags & (SYN | FIN)):
            trips += 1
            asked = False
    return trips


def before_close(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments up to the first FIN or RST: what the application waits for."""
    for place, segment in enumerate(segments):
        if segment.flags & (FIN | RST):
            return list(segments[:place])
    return list(segments)


class Capture:
    """A packet socket on a side's device. It is drained after each connection, so it stays small."""

    def __init__(self, ground: Ground, role: Role = ROLE_CLIENT) -> None:
        """Open it; it closes with the ground.

        Raises:
            UntestableError: when this kernel has no AF_PACKET, or it is not allowed.
        """

        def open_socket() -> socket.socket:
            return socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL)
            )

        try:
            self._socket = ground.inside(role, open_socket)
            self._socket.bind((DEVICE, _ETH_P_ALL))
        except OSError as error:
            raise UntestableError(f"packets cannot be captured here: {error.strerror}") from error
        ground.stack.callback(self._socket.close)

    def take(self) -> list[Segment]:
        """Return the TCP segments that came since the last call."""
        found: list[Segment] = []
        while True:
            try:
                frame, (_, _, kind, *_) = self._socket.recvfrom(1 << 16)
            except BlockingIOError:
                return found
            segment = parse_frame(frame, sent=kind == socket.PACKET_OUTGOING)
            if segment is not None:
                found.append(segment)

    def connection(self, seconds: float = 1.0) -> list[Segment]:
        """Return the segments of one connection, waiting at most `seconds` for its last one."""
        found: list[Segment] = []
        end = time.monotonic() + seconds
        while True:
            found += self.take()
            if ended(found) or time.monotonic() > end:
                # What is still under way, an ACK that crosses a RST, comes within this time.
                time.sleep(0.002)
                return found + self.take()
            time.sleep(0.0005)

    def inject(self, frame: bytes) -> None:
        """Send a captured frame again."""
        self._socket.send(with_checksum(frame))

    def lost(self) -> int:
        """Return how many packets the socket could not hold since the last call."""
        raw = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        return int(_STATISTICS.unpack(raw)[1])
