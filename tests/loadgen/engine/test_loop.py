"""The engine against a real memcached: what it counted is what the server saw."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from loadgen.config import CloseMode, RunConfig
from loadgen.run.seed import seed
from loadgen.sampling.namespace import new_namespace, run_inside
from tests.loadgen.builders import run_config
from tests.loadgen.engine.driving import drive
from tests.loadgen.hostile import Hostile, answering
from tests.loadgen.memcached import Memcached
from tests.loadgen.sampling.network import run

_TIME_WAIT = "06"


@pytest.fixture
def fresh() -> Iterator[Memcached]:
    """A memcached on a port that nobody has used: all its connections are the test's."""
    with Memcached() as server:
        yield server


def _config(*addresses: tuple[str, int], **changes: object) -> RunConfig:
    options = {
        "addresses": list(addresses),
        "rate": 2000.0,
        "duration": 0.1,
        "key_space": 20,
        "max_lateness": 10.0,
        "timeout": 10.0,
        "connect_timeout": 10.0,
    }
    return run_config(**{**options, **changes})


def _time_wait(port: int) -> Counter[str]:
    """Count the TIME_WAIT sockets of both ends of the connections to a local port."""
    found: Counter[str] = Counter()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        near, far, state = line.split()[1:4]
        if state == _TIME_WAIT:
            found["server"] += int(near.partition(":")[2], 16) == port
            found["client"] += int(far.partition(":")[2], 16) == port
    return +found


@pytest.mark.parametrize(
    ("close", "time_wait"),
    [("client", {"client": 200}), ("server", {"server": 200}), ("rst", {})],
)
async def test_who_closes_first_keeps_the_time_wait_socket(
    fresh: Memcached, close: CloseMode, time_wait: dict[str, int]
) -> None:
    """In every close mode each arrival is one connection with one get, and ends ok."""
    before = fresh.statistics()
    driven = await drive(_config(fresh.address, close=close))
    assert (driven.totals.scheduled, driven.totals.ok) == (200, 200)
    assert driven.totals.replies == {"miss": 200}
    assert driven.totals.connect_calls == 200
    # The last sockets get there when the other side's FIN does.
    with trio.move_on_after(5):
        while _time_wait(fresh.address[1]) != time_wait:
            await trio.sleep(0.01)
    assert _time_wait(fresh.address[1]) == time_wait
    after = fresh.statistics()
    assert after["cmd_get"] - before["cmd_get"] == 200
    assert after["total_connections"] - before["total_connections"] == 200 + 1  # and our own


@pytest.mark.parametrize("close", ["client", "server", "rst"])
async def test_several_requests_share_a_connection(memcached: Memcached, close: CloseMode) -> None:
    before = memcached.statistics()
    driven = await drive(_config(memcached.address, close=close, requests_per_connection=5))
    after = memcached.statistics()
    assert driven.totals.ok == 200
    assert sum(driven.totals.replies.values()) == 1000
    assert after["cmd_get"] - before["cmd_get"] == 1000
    assert after["total_connections"] - before["total_connections"] == 200 + 1


async def test_a_mix_of_gets_and_sets_on_seeded_keys(fresh: Memcached) -> None:
    config = _config(fresh.address, gets=0.5, value_size=64, requests_per_connection=2)
    assert seed(config) is True
    before = fresh.statistics()
    driven = await drive(config)
    after = fresh.statistics()
    replies = driven.totals.replies
    assert set(replies) == {"hit", "stored"}
    assert replies["hit"] == after["get_hits"] - before["get_hits"]
    assert replies["stored"] == after["cmd_set"] - before["cmd_set"]
    assert replies["hit"] + replies["stored"] == 400


async def test_values_larger_than_any_buffer(fresh: Memcached) -> None:
    """Requests that one send() does not take whole, and replies in many pieces."""
    config = _config(
        fresh.address, gets=0.5, value_size=900_000, key_space=4, rate=200.0, timeout=20.0
    )
    assert seed(config) is True
    driven = await drive(config)
    assert driven.totals.ok == 20
    assert set(driven.totals.replies) == {"hit", "stored"}


async def test_several_targets_are_used_in_turn(memcached: Memcached, fresh: Memcached) -> None:
    servers = (memcached, fresh)
    before = [server.statistics()["cmd_get"] for server in servers]
    driven = await drive(_config(memcached.address, fresh.address))
    after = [server.statistics()["cmd_get"] for server in servers]
    assert driven.totals.ok == 200
    assert [b - a for a, b in zip(before, after, strict=True)] == [100, 100]


async def test_source_addresses_are_used_in_turn_toward_every_target() -> None:
    with Hostile(answering(b"END\r\n")) as one, Hostile(answering(b"END\r\n")) as two:
        config = _config(
            one.address, two.address, source_addresses=["127.0.0.2", "127.0.0.3"], rate=400.0
        )
        driven = await drive(config)
    assert driven.totals.ok == 40
    for server in (one, two):
        assert Counter(server.peers) == {"127.0.0.2": 10, "127.0.0.3": 10}


async def test_the_closed_loop_keeps_its_concurrency_under_way() -> None:
    with Hostile(answering(b"END\r\n", after=0.01)) as server:
        driven = await drive(
            _config(server.address, rate=None, closed_loop=True, sample_interval=0.01),
            concurrency=3,
        )
    assert driven.totals.ok >= 3
    assert driven.totals.dropped == 0
    assert driven.totals.ok == len(server.peers)
    assert driven.most_in_flight == 3


async def test_the_closed_loop_waits_for_its_start() -> None:
    """`--start-at`: not one connection before the moment that all generators share."""
    with Hostile(answering(b"END\r\n")) as server:
        driven = await drive(
            _config(server.address, rate=None, closed_loop=True, duration=0.05), lead=0.3
        )
        assert driven.totals.ok == len(server.peers)


@pytest.mark.parametrize("closed_loop", [False, True])
async def test_warm_up_is_load_but_is_not_counted(closed_loop: bool) -> None:
    with Hostile(answering(b"END\r\n")) as server:
        # The closed loop counts what it gets done: long enough that a busy machine lets it do some.
        length = {"duration": 1.0} if closed_loop else {}
        config = _config(server.address, rate=500.0, warmup=0.2, closed_loop=closed_loop, **length)
        driven = await drive(config, concurrency=2)
        seen = len(server.peers)
    totals = driven.totals
    assert totals.ok == totals.started == totals.connect_calls == driven.count("total")
    assert sum(totals.replies.values()) == totals.ok
    if closed_loop:
        assert 0 < totals.ok < seen
    else:
        assert (totals.scheduled, seen) == (50, 150)


async def test_failures_in_the_warm_up_are_not_counted_either() -> None:
    with Hostile(answering(b"nonsense\r\n")) as server:
        config = _config(server.address, rate=500.0, warmup=0.1)
        driven = await drive(config)
        assert len(server.peers) == 100
    assert driven.totals.outcomes == {"malformed_reply": 50}


async def test_ticks_come_on_a_grid_from_the_run_s_start(memcached: Memcached) -> None:
    config = _config(memcached.address, duration=0.3, warmup=0.1, sample_interval=0.05)
    driven = await drive(config)
    assert 2 <= len(driven.ticks) <= 7
    for number, t in driven.ticks:
        assert number == int(t / 0.05)


# --- in a namespace of its own, where ports are few ----------------------------------------------


@pytest.fixture
def few_ports() -> Iterator[int]:
    """A namespace with a loopback, 100 ephemeral ports and no reuse."""
    namespace = new_namespace()

    def prepare() -> None:
        run("ip", "link", "set", "lo", "up")
        for key, value in (("ip_local_port_range", "40000 40099"), ("tcp_tw_reuse", "0")):
            Path("/proc/sys/net/ipv4", key).write_text(value)

    run_inside(namespace, prepare)
    yield namespace
    os.close(namespace)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("changes", "targets", "ok", "outcome", "error"),
    [
        ({}, 1, 100, "local_port_exhausted", "EADDRNOTAVAIL"),
        ({}, 2, 200, "local_port_exhausted", "EADDRNOTAVAIL"),
        (
            {"source_addresses": ["127.0.0.2"], "bind_early": True},
            2,
            100,
            "bind_port_exhausted",
            "EADDRINUSE",
        ),
        ({"source_addresses": ["127.0.0.2"]}, 2, 200, "local_port_exhausted", "EADDRNOTAVAIL"),
        ({"source_addresses": ["127.0.0.2", "127.0.0.3"]}, 1, 200, "local_port_exhausted",
         "EADDRNOTAVAIL"),
        ({"local_port_range": (40010, 40059)}, 1, 50, "local_port_exhausted", "EADDRNOTAVAIL"),
        ({"close": "rst"}, 1, 250, None, None),
    ],
)  # fmt: skip
def test_exactly_as_many_connections_as_there_are_ports(
    few_ports: int,
    changes: dict[str, object],
    targets: int,
    ok: int,
    outcome: str | None,
    error: str | None,
) -> None:
    """Ports are counted per source, target and port; an early bind() takes one for all targets."""

    def inside() -> None:
        # Ports outside the ephemeral range: a listener's own port would be one fewer.
        miss = answering(b"END\r\n")
        with Hostile(miss, port=11211) as one, Hostile(miss, port=11212) as two:
            addresses = [one.address, two.address][:targets]
            config = _config(
                *addresses, rate=1250.0, duration=0.2, max_lateness=5.0, max_in_flight=50, **changes
            )
            totals = trio.run(partial(drive, config)).totals
        assert (totals.started, totals.ok) == (250, ok)
        assert totals.outcomes == ({outcome: 250 - ok} if outcome else {})
        assert totals.errors == ({error: 250 - ok} if error else {})
        if outcome:
            assert totals.started_before_first_failure in {ok + 1, ok}

    run_inside(few_ports, inside)
