"""The engine against every misbehaving server at once: the right outcome, the identity, the memory."""

from __future__ import annotations

import tracemalloc
from contextlib import ExitStack
from typing import Final

import pytest
import trio

from loadgen.config import RunConfig, TlsOptions
from loadgen.outcome import Outcome
from loadgen.protocols import PROTOCOLS
from loadgen.target import SCHEMES
from tests.loadgen.builders import run_config
from tests.loadgen.engine.driving import Driven, drive
from tests.loadgen.hostile import Hostile
from tests.loadgen.memcached import free_port
from tests.loadgen.misbehaviour import CASES, HEALTHY, Case

_ATTEMPTS: Final = 3
_MOST: Final = 20 << 20
"""Bytes that all of them together may cost."""


def _config(case: Case, address: tuple[str, int]) -> RunConfig:
    scheme = SCHEMES[case.scheme]
    tls = TlsOptions(verify=False) if scheme.tls else None
    # A deadline that nothing should meet is far away: all the others are at work beside it.
    timeout = 15.0
    if any(outcome.endswith("_timeout") for outcome in case.outcomes):
        timeout = 3.0 if tls and case.phase == "reply" else 0.4  # which a handshake comes before
    return run_config(
        protocol=scheme.protocol,
        addresses=[address],
        targets=[f"{case.scheme}://{address[0]}:{address[1]}"],
        gets=PROTOCOLS[scheme.protocol].gets("get"),
        tls=tls,
        rate=_ATTEMPTS / 0.05,
        duration=0.05,
        timeout=timeout,
        connect_timeout=timeout,
        max_lateness=20.0,
        key_space=1,
        value_size=4,
        close=case.close,
    )


async def test_every_misbehaviour_has_its_outcome_and_costs_no_memory() -> None:
    """What `drive` checks of each: the accounting identity, and an end in time."""
    found: dict[Case, Driven] = {}

    async def one(case: Case, address: tuple[str, int]) -> None:
        found[case] = await drive(_config(case, address))

    with ExitStack() as stack:
        places = {}
        for case in (*CASES, *HEALTHY):
            if case.behaviour is None:
                places[case] = ("127.0.0.1", free_port())
            else:
                places[case] = stack.enter_context(Hostile(case.behaviour)).address
        tracemalloc.start()
        try:
            async with trio.open_nursery() as nursery:
                for case, address in places.items():
                    nursery.start_soon(one, case, address)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    wrong = {}
    for case, driven in found.items():
        totals = driven.totals
        ended = {*map(Outcome, totals.outcomes), *([Outcome.OK] if totals.ok else [])}
        if not ended <= case.outcomes or totals.started != _ATTEMPTS:
            wrong[case.id] = ended, totals.started
    assert wrong == {}
    assert most < _MOST


def test_the_table_is_one() -> None:
    assert len(CASES) >= 40
    assert len({case.id for case in CASES}) == len(CASES)
    assert {case.phase for case in CASES} == {"connect", "handshake", "request", "reply", "close"}


@pytest.mark.parametrize("outcome", [Outcome.REPLY_TIMEOUT, Outcome.MALFORMED_REPLY])
def test_most_cases_allow_one_outcome(outcome: Outcome) -> None:
    """A row that allows everything says nothing."""
    assert all(len(case.outcomes) <= 3 for case in CASES)
    assert sum(case.outcomes == {outcome} for case in CASES) >= 5
