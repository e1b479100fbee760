"""The way home's frames: nothing gets through that the other side has not said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.accounting.messages import Totals
from loadgen.fleet import wire
from loadgen.fleet.wire import Append, Hello, Opener, Sealer, WireError

KEY, OURS, THEIRS = b"k" * 32, b"a" * 32, b"b" * 32


def pair(key: bytes = KEY, way: str = "up", other: str = "up") -> tuple[Sealer, Opener]:
    return Sealer(KEY, way, OURS, THEIRS), Opener(key, other, OURS, THEIRS)


@given(bodies=st.lists(st.binary(max_size=300), max_size=8), cuts=st.lists(st.integers(1, 50)))
def test_bodies_arrive_as_they_were_however_the_bytes_come(
    bodies: list[bytes], cuts: list[int]
) -> None:
    sealer, opener = pair()
    data = b"".join(map(sealer.seal, bodies))
    got = []
    for cut in [*cuts, len(data)]:
        got += opener.feed(data[:cut])
        data = data[cut:]
    assert got == bodies


@given(
    body=st.binary(min_size=1, max_size=200), place=st.integers(0, 10_000), bit=st.integers(0, 7)
)
def test_one_flipped_bit_is_noticed(body: bytes, place: int, bit: int) -> None:
    sealer, opener = pair()
    frame = bytearray(sealer.seal(body))
    frame[place % len(frame)] ^= 1 << bit
    try:
        assert opener.feed(bytes(frame)) == []  # it claims to be longer, and waits for the rest
    except WireError:
        pass


@pytest.mark.parametrize("wrong", ["key", "way", "replayed", "left out"])
def test_a_frame_from_elsewhere_is_noticed(wrong: str) -> None:
    sealer, opener = pair(
        key=b"x" * 32 if wrong == "key" else KEY, other="down" if wrong == "way" else "up"
    )
    first, second = sealer.seal(b"one"), sealer.seal(b"two")
    sent = {"replayed": first + first, "left out": second}.get(wrong, first)
    with pytest.raises(WireError, match="changed on its way, or is not in its place"):
        opener.feed(sent)


def test_what_is_too_long_is_refused_before_it_is_read() -> None:
    sealer, opener = pair()
    with pytest.raises(WireError, match="longer than"):
        opener.feed((wire.LONGEST + 1).to_bytes(4, "big"))
    with pytest.raises(WireError, match="longer than"):
        sealer.seal(bytes(wire.LONGEST + 1))


def test_proofs_of_the_two_sides_differ_and_nonces_count() -> None:
    given_ = wire.proof(KEY, "shard", OURS, THEIRS)
    wire.check_proof(KEY, "shard", OURS, THEIRS, given_)
    for key, side, ours in [
        (b"x" * 32, "shard", OURS),
        (KEY, "control", OURS),
        (KEY, "shard", b"c" * 32),
    ]:
        with pytest.raises(WireError, match="does not hold this run's key"):
            wire.check_proof(key, side, ours, THEIRS, given_)


@pytest.mark.parametrize(
    "message",
    [
        Hello("1", "node-1", "ab", "0.1.0"),
        Append("samples.jsonl", 7, b"\x00\xff"),
        wire.Progress(1.5, Totals(ok=3, drops={"overdue": 1})),
        wire.Done(3, "said", {"run.json": 10}),
    ],
)
def test_a_shard_s_messages_read_back(message: wire.FromShard) -> None:
    assert wire.from_shard(wire.encode(message)) == message


@given(st.binary(max_size=100))
def test_what_is_no_message_is_one_error(data: bytes) -> None:
    for read in (wire.from_shard, wire.to_shard):
        with pytest.raises(WireError):
            read(data)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("run.json", True),
        ("samples.jsonl", True),
        ("latency.hlog", True),
        ("index.html", True),
        ("snapshots/connect_refused.json", True),
        ("../run.json", False),
        ("/etc/passwd", False),
        ("/run.json", False),
        ("snapshots/../run.json", False),
        ("snapshots/..json", False),
        ("other/run.json", False),
        ("snapshots/a/b.json", False),
        (".json", False),
        ("run.sh", False),
        ("samples.jsonl/", False),
        ("a" * 200 + ".json", False),
        ("run\0.json", False),
        ("", False),
    ],
)
def test_shards_send_files_of_a_run_directory_and_no_others(name: str, allowed: bool) -> None:
    assert wire.allowed_file(name) is allowed
