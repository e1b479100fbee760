"""Connection tracking by who talks to whom: entries as the kernel writes them, and the kernel itself."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadgen.sampling import tracked
from loadgen.sampling.namespace import run_inside
from loadgen.sampling.sock_diag import Pool
from loadgen.sampling.tracked import Pieces, TrackedError, TrackedReader
from tests.loadgen.sampling.network import CLIENT, SERVER, Pair

# One of 6.18: 198.19.0.4:50707 to 198.19.255.1:9, established.
ENTRY = bytes.fromhex(
    "f000000000010200010000000000000002000000340001801400018008000100c613000408000200c613ff011c00"
    "0280050001000600000006000200c52c00000600030000090000340002801400018008000100c613ff0108000200"
    "c61300041c0002800500010006000000060002000009000006000300c52c0000080003000000000e080008000000"
    "000008000c00fd5a932708000b00000000010800070000000077300004802c000180050001000300000005000200"
    "000000000500030000000000060004000a000000060005000a0000001c0018800800010000000000080002000000"
    "00000800030000000000"
)
ENDS = (socket.inet_aton("198.19.0.4"), socket.inet_aton("198.19.255.1"), 9)


def nested(kind: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack("=HH", 4 + len(data), kind) + data.ljust((len(data) + 3) & ~3, b"\0")


def entry(proto: int, source: bytes, destination: bytes, port: int, state: int) -> bytes:
    """Return an entry with as little in it as may be."""
    kinds = (1, 2) if len(source) == 4 else (3, 4)
    ends = nested(0x8001, nested(kinds[0], source), nested(kinds[1], destination))
    ports = nested(
        0x8002, nested(1, bytes([proto])), nested(2, b"\1\2"), nested(3, struct.pack("!H", port))
    )
    info = nested(0x8004, nested(0x8001, nested(1, bytes([state]))))
    body = bytes(4) + nested(0x8001, ends, ports) + info
    return struct.pack("=IHHII", 16 + len(body), 0x100, 2, 1, 0) + body


def taken(data: bytes) -> list[tracked.Entry | None]:
    found: list[tracked.Entry | None] = []
    Pieces().take(memoryview(data), found)
    return found


def test_an_entry_as_the_kernel_writes_it() -> None:
    assert taken(ENTRY * 3) == [(*ENDS, 3)] * 3
    assert tracked.parse_entry(memoryview(ENTRY)) == (*ENDS, 3)


V6 = (socket.inet_pton(socket.AF_INET6, "2001:db8::1"), socket.inet_pton(socket.AF_INET6, "::2"))


def test_other_protocols_families_and_layouts() -> None:
    assert taken(entry(6, *V6, 443, 7)) == [(*V6, 443, 7)]
    assert taken(entry(17, *ENDS[:2], 53, 0)) == [None]
    assert taken(entry(6, *ENDS, 4)) == [(*ENDS, 4)]


@given(st.binary(max_size=200), st.integers(0, len(ENTRY)))
@example(b"\xa8", 0)  # cut off within an attribute
def test_damage_is_one_error_and_no_other(noise: bytes, at: int) -> None:
    damaged = ENTRY[:at] + noise + ENTRY[at + len(noise) :]
    with suppress(TrackedError, OSError):
        taken(damaged)
    with suppress(TrackedError, OSError):
        tracked.parse_entry(memoryview(damaged))


@pytest.mark.kernel
def test_the_kernel_s_table_whole_and_in_parts(pair: Pair) -> None:
    """300 connections to one port and 100 to another, tracked in the client's namespace."""
    rule = "add table ip t; add chain ip t c { type filter hook output priority 0; }; "
    rule += "add rule ip t c ct state new accept"
    run_inside(pair.client, lambda: subprocess.run(["nft", rule], check=True))
    for port, count in ((11211, 300), (11212, 100)):
        listener = pair.listen(port, 400)
        pair.churn(listener, count)
        listener.close()
    reader = TrackedReader(pair.client, share=1.0)
    whole = reader.read(0.0, force=True)
    assert whole is not None
    assert whole.pools == {Pool(CLIENT, SERVER, 11211): 300, Pool(CLIENT, SERVER, 11212): 100}
    assert (whole.read, whole.complete, whole.tcp) == (400, True, 400)
    assert set(whole.states) <= {"time_wait", "last_ack"}
    # In parts, one piece a time, the table is walked again and again; the sample stays of one size.
    again = reader.read(1.0)
    assert again is not None
    assert again.read == 400
    reader.close()


@pytest.mark.kernel
def test_without_the_capability_it_says_which_is_missing() -> None:
    """As an ordinary user, in a process of its own."""
    code = (
        "import os\n"
        "from loadgen.sampling.tracked import TrackedReader\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "reader = TrackedReader(share=1.0)\n"
        "assert reader.read(0.0, force=True) is None\n"
        "print(reader.reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "CAP_NET_ADMIN" in done.stdout, done.stderr
