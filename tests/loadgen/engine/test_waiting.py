"""Waiting on an epoll descriptor: both ways tell the same, and neither waits for longer than asked."""

from __future__ import annotations

import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from loadgen.engine import waiting
from loadgen.engine.waiting import Wait

_WAYS: list[Callable[[select.epoll], Wait | None]] = [waiting._precisely, waiting._by_select]


@pytest.fixture
def epoll() -> Iterator[select.epoll]:
    with select.epoll() as made:
        yield made


@pytest.fixture(params=_WAYS, ids=["precisely", "by-select"])
def wait(request: pytest.FixtureRequest, epoll: select.epoll) -> Wait:
    made = request.param(epoll)
    assert made is not None, "this kernel or C library has no epoll_pwait2"
    return made  # type: ignore[no-any-return]  # pytest's params are Any


def test_nothing_is_ready(wait: Wait) -> None:
    begin = time.monotonic()
    assert list(wait(0.02)) == []
    assert time.monotonic() - begin >= 0.02


def test_descriptors_and_events_are_those_of_poll(epoll: select.epoll, wait: Wait) -> None:
    pairs = [socket.socketpair() for _ in range(5)]
    for near, far in pairs:
        epoll.register(near, select.EPOLLIN)
        far.send(b"x")
    pairs[0][1].close()
    expected = sorted(epoll.poll(0))
    assert len(expected) == 5
    assert sorted(wait(0.9)) == expected
    for near, far in pairs[1:]:
        near.close()
        far.close()
    assert [descriptor for descriptor, _ in wait(0.9)] == [pairs[0][0].fileno()]
    pairs[0][0].close()


def test_more_than_it_takes_at_once_is_there_the_next_time(epoll: select.epoll, wait: Wait) -> None:
    pairs = [socket.socketpair() for _ in range(100)]
    for near, far in pairs:
        epoll.register(near, select.EPOLLIN | select.EPOLLONESHOT)
        far.send(b"x")
    first, second = wait(0.9), wait(0.9)
    assert (len(first), len(second)) == (64, 36)
    assert {d for d, _ in (*first, *second)} == {near.fileno() for near, _ in pairs}
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_what_comes_ends_the_wait(epoll: select.epoll, wait: Wait) -> None:
    near, far = socket.socketpair()
    with near, far:
        epoll.register(near, select.EPOLLIN)
        sender = threading.Timer(0.05, far.send, (b"x",))
        sender.start()
        begin = time.monotonic()
        while not (found := list(wait(0.9))):
            assert time.monotonic() - begin < 30
        sender.join()
        assert found == [(near.fileno(), select.EPOLLIN)]


def test_a_signal_ends_the_wait_in_good_order(wait: Wait) -> None:
    """epoll_pwait2 comes back with EINTR; select() is called again by Python."""
    heard = threading.Event()
    before = signal.signal(signal.SIGALRM, lambda *_: heard.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert list(wait(0.2)) == []
        while not heard.is_set():
            assert list(wait(0.2)) == []
    finally:
        signal.signal(signal.SIGALRM, before)


def test_where_the_call_is_missing_select_does_it(
    epoll: select.epoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_libc", object())
    assert waiting._precisely(epoll) is None
    assert list(waiting.waiting_on(epoll)(0.001)) == []


def test_where_the_call_is_forbidden_select_does_it(
    epoll: select.epoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forbidding:
        """A C library on a kernel that knows the call and refuses it."""

        epoll_pwait2 = staticmethod(lambda *_: -1)

    monkeypatch.setattr(waiting, "_libc", Forbidding())
    assert waiting._precisely(epoll) is None
    assert list(waiting.waiting_on(epoll)(0.001)) == []
