"""The engine against a hostile server: the right outcome, all accounted for, and an end in time."""

from __future__ import annotations

import os
import socket

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.accounting.latency import highest, lowest
from loadgen.config import RunConfig
from loadgen.outcome import Outcome
from loadgen.sampling.namespace import new_namespace, run_inside
from tests.loadgen import hostile
from tests.loadgen.builders import run_config
from tests.loadgen.engine.driving import PATIENCE, Driven, drive
from tests.loadgen.hostile import GARBAGE, REPLY, Behaviour, Deaf, Hostile, answering, in_parts
from tests.loadgen.memcached import free_port

_TIMEOUT = 0.2
"""Seconds, where the deadline is to end the attempt."""
_PLENTY = 10.0
"""Seconds, where it is not."""


def _config(address: tuple[str, int], **changes: object) -> RunConfig:
    options = {
        "addresses": [address],
        "rate": 400.0,
        "duration": 0.05,
        "timeout": _PLENTY,
        "connect_timeout": _PLENTY,
        "max_lateness": 5.0,
        "key_space": 1,
        "value_size": 4,
    }
    return run_config(**{**options, **changes})


def _all(driven: Driven, outcome: Outcome, *errors: str) -> None:
    """Check that all 20 attempts ended alike, with one of these errors each, and in time."""
    totals = driven.totals
    assert (totals.started, totals.dropped) == (20, 0)
    if outcome is Outcome.OK:
        assert totals.ok == 20
        assert totals.outcomes == {}
    else:
        assert totals.outcomes == {outcome: 20}
        assert totals.ok == 0
    assert set(totals.errors) <= set(errors)
    assert sum(totals.errors.values()) == (20 if errors else 0)
    assert driven.elapsed < 0.05 + _TIMEOUT + PATIENCE


@pytest.mark.parametrize(
    ("behaviour", "outcome", "errors"),
    [
        pytest.param(answering(), Outcome.OK, (), id="well-behaved"),
        pytest.param(answering(after=0.05), Outcome.OK, (), id="slow"),
        pytest.param(answering(b"END\r\n"), Outcome.OK, (), id="miss"),
        pytest.param(answering(closes=True), Outcome.OK, (), id="closes-first"),
        pytest.param(hostile.single_bytes, Outcome.OK, (), id="single-bytes"),
        pytest.param(in_parts(REPLY[:9], REPLY[9:], pause=0.05), Outcome.OK, (), id="two-parts"),
        pytest.param(hostile.silent, Outcome.REPLY_TIMEOUT, (), id="silent"),
        pytest.param(answering(after=1.0), Outcome.REPLY_TIMEOUT, (), id="too-slow"),
        pytest.param(in_parts(REPLY[:9]), Outcome.REPLY_TIMEOUT, (), id="half-then-silence"),
        pytest.param(
            answering(REPLY[:9], closes=True), Outcome.TRUNCATED_REPLY, (), id="half-then-close"
        ),
        pytest.param(
            hostile.closing_without_a_word, Outcome.TRUNCATED_REPLY, (), id="close-without-a-word"
        ),
        pytest.param(
            hostile.resetting_at_once, Outcome.RESET, ("ECONNRESET", "EPIPE"), id="reset-at-once"
        ),
        pytest.param(
            hostile.resetting_after_request, Outcome.RESET, ("ECONNRESET",), id="reset-for-reply"
        ),
        pytest.param(
            hostile.resetting_in_reply, Outcome.RESET, ("ECONNRESET",), id="reset-in-reply"
        ),
        pytest.param(answering(GARBAGE), Outcome.MALFORMED_REPLY, (), id="garbage"),
        pytest.param(answering(b"\x00" * 9), Outcome.MALFORMED_REPLY, (), id="binary"),
        pytest.param(answering(REPLY + b"x"), Outcome.MALFORMED_REPLY, (), id="one-byte-too-many"),
        pytest.param(answering(REPLY * 2), Outcome.MALFORMED_REPLY, (), id="two-replies"),
        pytest.param(
            answering(b"SERVER_ERROR out of memory\r\n"),
            Outcome.SERVER_ERROR,
            ("SERVER_ERROR",),
            id="error",
        ),
        pytest.param(
            answering(b"ERROR Too many open connections\r\n", closes=True),
            Outcome.TOO_MANY_CONNECTIONS,
            (),
            id="too-many",
        ),
    ],
)
async def test_each_misbehaviour_has_its_outcome(
    behaviour: Behaviour, outcome: Outcome, errors: tuple[str, ...]
) -> None:
    with Hostile(behaviour) as server:
        timeout = _TIMEOUT if outcome is Outcome.REPLY_TIMEOUT else _PLENTY
        _all(await drive(_config(server.address, timeout=timeout)), outcome, *errors)
        assert len(server.peers) == 20


async def test_nobody_listens() -> None:
    driven = await drive(_config(("127.0.0.1", free_port())))
    _all(driven, Outcome.CONNECT_REFUSED, "ECONNREFUSED")
    assert driven.count("connect") == 0
    assert driven.totals.started_before_first_failure == 1


async def test_a_handshake_that_is_never_answered() -> None:
    """The listener's queue is full, so the SYN is dropped."""
    with Deaf() as server:
        driven = await drive(_config(server.address, timeout=_TIMEOUT))
    _all(driven, Outcome.CONNECT_TIMEOUT)
    assert driven.elapsed >= _TIMEOUT


async def test_the_handshake_has_a_deadline_of_its_own() -> None:
    """Its end is long before the attempt's."""
    with Deaf() as server:
        driven = await drive(_config(server.address, timeout=60.0, connect_timeout=_TIMEOUT))
    assert driven.totals.outcomes == {Outcome.CONNECT_TIMEOUT: 20}
    assert driven.elapsed < 30


@pytest.mark.kernel
def test_no_route_to_the_target() -> None:
    """A namespace without any device that is up."""
    namespace = new_namespace()
    try:
        config = _config(("198.18.0.1", 11211))
        driven = run_inside(namespace, lambda: trio.run(drive, config))
    finally:
        os.close(namespace)
    _all(driven, Outcome.UNREACHABLE, "ENETUNREACH")


async def test_a_source_that_is_not_ours_is_an_outcome() -> None:
    with Hostile(answering()) as server:
        driven = await drive(_config(server.address, source_addresses=["192.0.2.7"]))
    _all(driven, Outcome.BAD_SOURCE, "EADDRNOTAVAIL")


# --- quit, and more than one request -------------------------------------------------------------


async def test_a_server_that_never_closes_after_quit() -> None:
    with Hostile(in_parts(REPLY)) as server:
        driven = await drive(_config(server.address, close="server", timeout=3 * _TIMEOUT))
    _all(driven, Outcome.CLOSE_TIMEOUT)
    assert driven.totals.replies == {"hit": 20}


async def test_a_server_that_talks_after_quit() -> None:
    with Hostile(answering()) as server:
        driven = await drive(_config(server.address, close="server"))
    _all(driven, Outcome.MALFORMED_REPLY)


async def test_a_server_that_closes_before_quit() -> None:
    """Whoever closed first, the attempt is ok: the request was answered and the stream ended."""
    with Hostile(answering(closes=True)) as server:
        driven = await drive(_config(server.address, close="server"))
    totals = driven.totals
    # Our quit may cross the server's FIN and be answered with RST.
    assert totals.ok + totals.outcomes.get(Outcome.RESET, 0) == 20


async def test_a_server_that_closes_between_two_requests() -> None:
    with Hostile(answering(closes=True)) as server:
        driven = await drive(_config(server.address, requests_per_connection=3))
    assert driven.totals.ok == 0
    assert set(driven.totals.outcomes) <= {Outcome.TRUNCATED_REPLY, Outcome.RESET}
    assert driven.totals.replies == {"hit": 20}


async def test_the_deadline_is_the_whole_attempt_s_not_each_request_s() -> None:
    """Three replies of 0.1 s each are longer than the deadline."""
    with Hostile(answering(after=0.1)) as server:
        config = _config(server.address, requests_per_connection=3, timeout=_TIMEOUT)
        driven = await drive(config)
    _all(driven, Outcome.REPLY_TIMEOUT)


async def test_a_request_that_the_server_does_not_read_ends_at_the_deadline() -> None:
    """Larger than all buffers together: send() takes a part and no more."""

    def deaf(server: Hostile, _: socket.socket) -> None:
        server.ended.wait(30)

    with Hostile(deaf) as server:
        config = _config(
            server.address, gets=0.0, value_size=8_000_000, rate=40.0, timeout=_TIMEOUT
        )
        driven = await drive(config)
    assert driven.totals.outcomes == {Outcome.REPLY_TIMEOUT: 2}


# --- what is measured ----------------------------------------------------------------------------


async def test_latencies_run_from_the_intended_start_in_order() -> None:
    """The first byte comes at once and the rest half a second later."""
    with Hostile(in_parts(REPLY[:1], REPLY[1:], pause=0.5)) as server:
        driven = await drive(_config(server.address, timeout=5.0, rate=40.0, duration=0.1))
    assert driven.totals.ok == 4
    first, total = driven.histograms["first_byte"], driven.histograms["total"]
    assert highest(max(first)) < 450_000 < lowest(min(total))


async def test_no_more_in_flight_than_allowed() -> None:
    """What finds no room waits until it is overdue, and is dropped for that reason."""
    with Hostile(hostile.silent) as server:
        config = _config(
            server.address,
            max_in_flight=5,
            duration=0.2,
            max_lateness=0.1,
            sample_interval=0.01,
            timeout=2 * _TIMEOUT,
        )
        driven = await drive(config)
    totals = driven.totals
    assert driven.most_in_flight == 5
    assert totals.scheduled == 80
    assert totals.drops["in_flight"] > totals.dropped / 2  # a machine that stands still adds others
    assert totals.dropped >= 70
    assert totals.outcomes == {Outcome.REPLY_TIMEOUT: totals.started}


async def test_a_stop_leaves_what_is_under_way_unfinished() -> None:
    with Hostile(hostile.silent) as server:
        config = _config(server.address, duration=60.0, timeout=60.0, rate=100.0)
        driven = await drive(config, stop_after=0.2)
    assert driven.interrupted
    assert driven.totals.unfinished == driven.totals.started > 0
    assert driven.elapsed < 30


async def test_a_stop_is_obeyed_before_the_start_too() -> None:
    """Ctrl-C while all wait for `--start-at`."""
    config = _config(("127.0.0.1", free_port()))
    with trio.fail_after(PATIENCE):
        driven = await drive(config, lead=60.0, stop_after=0.05)
    assert driven.interrupted
    assert driven.totals.scheduled == 0


@settings(max_examples=10)
@given(st.binary(max_size=40), st.booleans(), st.sampled_from(["client", "server", "rst"]))
def test_whatever_the_server_says_the_engine_accounts_for_it(
    said: bytes, closes: bool, close: str
) -> None:
    with Hostile(answering(said, closes=closes)) as server:
        config = _config(server.address, close=close, timeout=0.1, duration=0.02)
        driven = trio.run(drive, config)
    assert driven.totals.started == 8
    assert len(driven.totals.outcomes) >= (driven.totals.ok < 8)
