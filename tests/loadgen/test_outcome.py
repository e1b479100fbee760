"""The errno table: the phase decides together with the errno."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.engine.attempt import ON_DEADLINE, ON_END_OF_STREAM, PHASE, State
from loadgen.outcome import DESCRIPTIONS, Outcome, Phase, classify, errno_name


@pytest.mark.parametrize(
    ("phase", "error", "outcome"),
    [
        (Phase.CONNECT, errno.EADDRNOTAVAIL, Outcome.LOCAL_PORT_EXHAUSTED),
        (Phase.BIND, errno.EADDRNOTAVAIL, Outcome.BAD_SOURCE),
        (Phase.BIND, errno.EADDRINUSE, Outcome.BIND_PORT_EXHAUSTED),
        (Phase.CONNECT, errno.ECONNREFUSED, Outcome.CONNECT_REFUSED),
        (Phase.CONNECT, errno.ECONNRESET, Outcome.RESET),
        (Phase.CONNECT, errno.ETIMEDOUT, Outcome.CONNECT_TIMEOUT),
        (Phase.EXCHANGE, errno.ETIMEDOUT, Outcome.REPLY_TIMEOUT),
        (Phase.EXCHANGE, errno.ECONNRESET, Outcome.RESET),
        (Phase.EXCHANGE, errno.EPIPE, Outcome.RESET),
        (Phase.SOCKET, errno.EMFILE, Outcome.FD_EXHAUSTED),
        (Phase.SOCKET, errno.ENFILE, Outcome.FD_EXHAUSTED),
        (Phase.SOCKET, errno.ENOBUFS, Outcome.NO_MEMORY),
        (Phase.CONNECT, errno.ENETUNREACH, Outcome.UNREACHABLE),
        (Phase.CONNECT, errno.EHOSTUNREACH, Outcome.UNREACHABLE),
        (Phase.CONNECT, errno.EPERM, Outcome.DENIED),
        (Phase.CONNECT, errno.EACCES, Outcome.DENIED),
        (Phase.SOCKET, errno.EADDRNOTAVAIL, Outcome.OTHER_ERROR),
        (Phase.EXCHANGE, errno.EBADF, Outcome.OTHER_ERROR),
    ],
)
def test_phase_and_errno_name_the_outcome(phase: Phase, error: int, outcome: Outcome) -> None:
    assert classify(phase, error) is outcome


@given(st.sampled_from(Phase), st.integers(-10, 4096))
def test_no_errno_is_without_an_outcome_and_none_is_ok(phase: Phase, error: int) -> None:
    assert classify(phase, error) is not Outcome.OK
    assert errno_name(error)


def test_an_unknown_errno_keeps_its_number() -> None:
    assert errno_name(errno.EADDRNOTAVAIL) == "EADDRNOTAVAIL"
    assert errno_name(4095) == "errno 4095"


def test_every_outcome_is_described() -> None:
    assert set(DESCRIPTIONS) == set(Outcome)


def test_every_state_knows_what_ends_it() -> None:
    """The engine looks these tables up without a default."""
    for table in (PHASE, ON_DEADLINE, ON_END_OF_STREAM):
        assert set(table) == set(State)
