"""Keys are stored before the run, and nothing of that is left over."""

import socket
from pathlib import Path

from loadgen.run.seed import seed
from tests.loadgen.builders import run_config


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
