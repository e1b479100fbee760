"""The engine against real Redis and nginx: what it counted is what they saw."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from loadgen.config import CloseMode, RunConfig
from loadgen.outcome import Outcome
from loadgen.protocols import PROTOCOLS
from loadgen.protocols import redis as spoken
from loadgen.run.seed import seed
from loadgen.sampling import ServerReader
from loadgen.summary import Number
from loadgen.target import Credentials
from loadgen.units import format_bytes
from tests.loadgen.builders import run_config
from tests.loadgen.engine.driving import Driven, drive
from tests.loadgen.memcached import Memcached
from tests.loadgen.programs import LARGE, Nginx, Program, Redis

_MODES: tuple[CloseMode, ...] = ("client", "server", "rst")


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis("--maxclients", "4000") as server:
        yield server


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with Nginx() as server:
        yield server


def _config(server: Program, scheme: str, path: str = "", **changes: object) -> RunConfig:
    op = str(changes.pop("op", "connect" if scheme == "tcp" else "get"))
    options = {
        "addresses": [server.address],
        "targets": [f"{scheme}://{server.place}{path}"],
        "protocol": scheme,
        "op": op,
        "gets": PROTOCOLS[scheme].gets(op),
        "rate": 1000.0,
        "duration": 0.2,
        "key_space": 20,
        "max_lateness": 10.0,
        "timeout": 10.0,
        "connect_timeout": 10.0,
    }
    return run_config(**{**options, **changes})


def figures(config: RunConfig, credentials: Credentials | None = None) -> dict[str, Number]:
    """Return what the server says of itself, through the reader of the samples."""
    asks = PROTOCOLS[config.protocol].statistics
    assert asks is not None
    statistics = asks(config, credentials)
    assert statistics is not None
    with closing(ServerReader(statistics, config.addresses, timeout=5.0)) as reader:
        values = reader.read(force=True)
        assert not reader.absent, reader.absent
        assert set(values) == {metric.name for metric in statistics.metrics}
    return values


def _moved(before: dict[str, Number], after: dict[str, Number], name: str) -> Number:
    return after[name] - before[name]


def _ended(driven: Driven, outcome: Outcome, error: str = "") -> None:
    """Check that all 200 attempts ended alike, for the reason that the server gave."""
    totals = driven.totals
    assert (totals.started, totals.ok) == (200, 0)
    assert totals.outcomes == {outcome: 200}
    assert totals.errors == ({error: 200} if error else {})


@pytest.mark.parametrize("close", _MODES)
@pytest.mark.parametrize("count", [1, 3])
async def test_redis_sees_what_was_counted(redis: Redis, close: CloseMode, count: int) -> None:
    config = _config(redis, "redis", close=close, requests_per_connection=count, op="mix:50/50")
    assert seed(config) is True
    before = figures(config)
    driven = await drive(config)
    after = figures(config)
    replies = driven.totals.replies
    assert driven.totals.ok == 200
    assert set(replies) == {"hit", "stored"}
    assert sum(replies.values()) == 200 * count
    assert replies["hit"] == _moved(before, after, "redis_keyspace_hits")
    assert _moved(before, after, "redis_total_connections_received") == 200 + 1  # and our own


async def test_redis_is_only_pinged(redis: Redis) -> None:
    driven = await drive(_config(redis, "redis", op="ping"))
    assert driven.totals.replies == {"pong": 200}


async def test_values_larger_than_any_buffer(redis: Redis) -> None:
    config = _config(
        redis, "redis", op="mix:50/50", value_size=900_000, key_space=4, rate=100.0, timeout=20.0
    )
    assert seed(config) is True
    driven = await drive(config)
    assert driven.totals.ok == 20
    assert set(driven.totals.replies) == {"hit", "stored"}


@pytest.mark.parametrize(
    ("credentials", "error"), [(None, "NOAUTH"), (Credentials("", "wrong"), "WRONGPASS")]
)
async def test_redis_wants_the_right_password(credentials: Credentials | None, error: str) -> None:
    with Redis("--requirepass", "secret") as locked:
        config = _config(locked, "redis")
        assert seed(config, credentials) is False
        _ended(await drive(config, credentials=credentials), Outcome.NOT_AUTHENTICATED, error)
        right = Credentials("", "secret")
        assert seed(config, right) is True
        driven = await drive(config, credentials=right)
        assert driven.totals.replies == {"hit": 200}
        assert figures(config, right)["redis_rejected_connections"] == 0


async def test_redis_turns_away_at_its_limit_and_counts_it() -> None:
    with Redis("--maxclients", "5") as full, ExitStack() as held:
        config = _config(full, "redis", op="ping")
        with closing(ServerReader(spoken.statistics(), config.addresses, timeout=5.0)) as reader:
            before = reader.read(force=True)
            for _ in range(4):
                held.enter_context(closing(socket.create_connection(full.address)))
            driven = await drive(config)
            after = reader.read(force=True)
    totals = driven.totals
    assert (totals.started, totals.ok) == (200, 0)
    assert set(totals.outcomes) <= {
        Outcome.TOO_MANY_CONNECTIONS,
        Outcome.RESET,
        Outcome.TRUNCATED_REPLY,
    }
    assert _moved(before, after, "redis_rejected_connections") == 200
    assert (after["redis_connected_clients"], after["redis_maxclients"]) == (5, 5)


@pytest.mark.parametrize("close", _MODES)
@pytest.mark.parametrize(("op", "count"), [("get", 1), ("get", 3), ("head", 2)])
async def test_nginx_sees_what_was_counted(
    nginx: Nginx, close: CloseMode, op: str, count: int
) -> None:
    config = _config(
        nginx, "http", "/", close=close, requests_per_connection=count, op=op, status_path="/status"
    )
    before = figures(config)
    driven = await drive(config)
    after = figures(config)
    assert driven.totals.ok == 200
    assert driven.totals.replies == {"2xx": 200 * count}
    assert _moved(before, after, "nginx_requests") == 200 * count + 1  # and our own
    assert _moved(before, after, "nginx_accepts") == 200 + 1


@pytest.mark.parametrize("close", ["client", "server"])
@pytest.mark.parametrize(
    ("path", "outcome", "error"),
    [
        ("/missing", Outcome.REQUEST_REFUSED, "HTTP 404"),
        ("/private", Outcome.NOT_AUTHENTICATED, "HTTP 401"),
        ("/busy", Outcome.SERVER_ERROR, "HTTP 503"),
    ],
)
async def test_a_status_has_its_outcome(
    nginx: Nginx, close: CloseMode, path: str, outcome: Outcome, error: str
) -> None:
    _ended(await drive(_config(nginx, "http", path, close=close)), outcome, error)


async def test_bodies_larger_than_any_buffer_and_redirections(nginx: Nginx) -> None:
    driven = await drive(_config(nginx, "http", "/large", rate=200.0))
    assert driven.totals.replies == {"2xx": 40}
    assert LARGE > 4 * 65_536
    driven = await drive(_config(nginx, "http", "/moved", rate=200.0))
    assert driven.totals.replies == {"3xx": 40}


async def test_two_paths_are_asked_for_in_turn(nginx: Nginx) -> None:
    config = _config(
        nginx,
        "http",
        addresses=[nginx.address] * 2,
        targets=[f"http://{nginx.place}/", f"http://{nginx.place}/missing"],
    )
    totals = (await drive(config)).totals
    assert (totals.ok, totals.outcomes) == (100, {Outcome.REQUEST_REFUSED: 100})


async def test_a_connection_and_nothing_else(nginx: Nginx) -> None:
    config = _config(nginx, "http", "/", status_path="/status")
    before = figures(config)
    driven = await drive(_config(nginx, "tcp"), silent=True)
    after = figures(config)
    assert driven.totals.replies == {"connected": 200}
    assert driven.count("connect") == driven.count("total") == 200
    assert driven.count("first_byte") == 0
    assert _moved(before, after, "nginx_accepts") == 200 + 1


@pytest.mark.parametrize("close", _MODES)
async def test_bytes_of_one_s_own(memcached: Memcached, close: CloseMode) -> None:
    config = run_config(
        protocol="tcp",
        addresses=[memcached.address],
        op="connect",
        gets=0.0,
        send=format_bytes(b"version\r\nquit\r\n" if close == "server" else b"version\r\n"),
        expect="VERSION ",
        rate=1000.0,
        duration=0.2,
        timeout=10.0,
        max_lateness=10.0,
        close=close,
    )
    assert (await drive(config)).totals.replies == {"expected": 200}


@pytest.mark.parametrize("scheme", ["memcached", "redis", "http"])
async def test_another_protocol_is_spoken_there(
    memcached: Memcached, redis: Redis, nginx: Nginx, scheme: str
) -> None:
    """Whatever each makes of the others' requests: no attempt is ok, each is accounted for."""
    for server in (memcached, redis, nginx):
        if scheme in type(server).__name__.lower() or (scheme, server) == ("http", nginx):
            continue
        config = run_config(
            protocol=scheme,
            addresses=[server.address],
            targets=[f"{scheme}://h"],
            gets=PROTOCOLS[scheme].gets("get"),
            rate=400.0,
            duration=0.1,
            timeout=0.5,
            max_lateness=10.0,
        )
        totals = (await drive(config)).totals
        assert (totals.started, totals.ok) == (40, 0), server
        assert seed(config) in {False, None}
