"""How long a load must last: time makes up for rate, up to a minute."""

import pytest

from lab.analysis.length import LONGEST, first_reach
from tests.lab.ablate.worlds import summary

DEFAULT = {"net.ipv4.ip_local_port_range": "32768 60999", "net.ipv4.tcp_tw_reuse": "2"}
WIDE = {"net.ipv4.ip_local_port_range": "5000 65000", "net.ipv4.tcp_tw_reuse": "1"}


def both(settings: dict[str, str]) -> dict[str, dict[str, str]]:
    return {"client": settings, "server": settings}


@pytest.mark.parametrize(
    ("rate", "limit"), [(610.0, "ports_exhausted"), (2_000.0, "port_search_slow")]
)
def test_the_ports_of_a_default_range_are_gone_in_the_end(rate: float, limit: str) -> None:
    """28,232 ports, or the search for them: the spare time shows the losses."""
    found = first_reach(summary(0.0), {"before": both(DEFAULT), "after": both(WIDE)}, rate)
    assert found is not None
    assert (found.arm, found.limit) == ("before", limit)
    assert 14_116 / rate < found.at <= 28_233 / rate
    assert found.at < found.duration <= LONGEST


def test_what_is_given_back_in_time_is_never_reached() -> None:
    """470/s are 28,200 ports in 60 s: the load may last as long as it will."""
    assert first_reach(summary(0.0), {"before": both(DEFAULT)}, 469.0) is None
    assert first_reach(summary(0.0), {"before": both(DEFAULT)}, 472.0) is not None


def test_the_arm_that_breaks_first_decides() -> None:
    few = {**DEFAULT, "net.ipv4.ip_local_port_range": "40000 40999"}
    found = first_reach(summary(0.0), {"before": both(DEFAULT), "after": both(few)}, 500.0)
    assert found is not None
    assert (found.arm, found.duration) == ("after", 3.0)
    assert found.at == pytest.approx(2.0, rel=0.001)


def test_a_setting_that_no_model_knows_is_no_reach() -> None:
    odd = {"net.ipv4.ip_local_port_range": "0 0"}
    assert first_reach(summary(0.0), {"before": both(odd)}, 500.0) is None
