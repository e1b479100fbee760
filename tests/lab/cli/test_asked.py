"""From a command's options to the record of what is asked of the load generator."""

from __future__ import annotations

from typing import Any

import pytest

from lab.cli.options import load_of, rate_of
from lab.testbed.base import SitePlan
from lab.tunings import DEMAND, demand_of
from loadgen.config import LoadOptions

CHOSEN: dict[str, Any] = {
    "rate": 1_500.0,
    "close": "rst",
    "timeout": 2.0,
    "workers": None,
    "local_port_range": (40_000, 40_099),
    "quiet": True,
}


def test_what_a_command_has_no_option_for_is_left_to_the_generator() -> None:
    assert load_of(CHOSEN) == LoadOptions(
        rate=1_500.0, close="rst", timeout=2.0, local_port_range=(40_000, 40_099)
    )


def test_a_rate_that_is_to_be_found_is_none() -> None:
    assert rate_of({"rate": "auto"}) is None
    assert load_of(CHOSEN | {"rate": "auto"}).rate is None


def test_the_closed_loop_has_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="--rate max has no arrivals to drop"):
        load_of({"rate": "max"})


@pytest.mark.parametrize(("asked", "rate"), [(1_500.0, 1_500.0), ("auto", DEMAND.rate)])
def test_recommended_serves_the_load_at_the_site(asked: float | str, rate: float) -> None:
    demand = demand_of(load_of(CHOSEN | {"rate": asked}), SitePlan(servers=2, source_addresses=3))
    assert (demand.rate, demand.sources, demand.destinations) == (rate, 3, 2)
    assert (demand.close, demand.local_port_range) == ("rst", (40_000, 40_099))
