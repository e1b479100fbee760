"""Keys are stored before the run, and nothing of that is left over."""

import socket
import tracemalloc
from pathlib import Path

import pytest

from loadgen.run import seed as seeding
from loadgen.run.seed import seed
from tests.loadgen.builders import run_config
from tests.loadgen.hostile import Behaviour, Hostile, answering, silent


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def closed_port() -> int:
    """Return a port of loopback that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_descriptor_of_the_server_s_namespace_is_left_open() -> None:
    """Whether or not the namespace may be entered, and whatever came of the keys."""
    config = run_config(
        addresses=[("127.0.0.1", closed_port())], namespaces={"server": "/proc/self/ns/net"}
    )
    before = descriptors()
    assert [seed(config) for _ in range(3)] == [False] * 3
    assert descriptors() == before


def test_nothing_is_stored_where_nothing_is_asked_for() -> None:
    assert seed(run_config(gets=0.0, namespaces={"server": "no-such"})) is None


def _endless(server: Hostile, sock: socket.socket) -> None:
    """Bytes and no line's end, as fast as they are taken."""
    while not server.ended.is_set():
        sock.sendall(b"A" * 65_536)


def _dripping(server: Hostile, sock: socket.socket) -> None:
    """The beginning of a good answer, a byte now and then."""
    for byte in b"STORED\r\n" * 1000:
        sock.sendall(bytes([byte]))
        if server.ended.wait(0.1):
            return


def test_a_server_that_never_ends_a_line_costs_no_memory() -> None:
    with Hostile(_endless) as server:
        config = run_config(addresses=[server.address])
        tracemalloc.start()
        try:
            assert seed(config) is False
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert most < 2_000_000


@pytest.mark.parametrize("behaviour", [_dripping, silent])
def test_a_server_that_takes_its_time_is_given_up(
    behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is that of a whole batch: a byte now and then does not put it off."""
    monkeypatch.setattr(seeding, "TIMEOUT", 0.3)
    with Hostile(behaviour) as server:
        assert seed(run_config(addresses=[server.address])) is False


@pytest.mark.parametrize("close", [b"", b"ERROR\r\n", b"VALUE churnlab:1 0 -1\r\n", b"\xff\r\n"])
def test_an_answer_that_is_none_is_no_success(close: bytes) -> None:
    with Hostile(answering(close, closes=True)) as server:
        assert seed(run_config(addresses=[server.address])) is False
