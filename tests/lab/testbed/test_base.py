"""The plan of a site."""

import resource
from typing import Any

import pytest

from lab.testbed.base import SitePlan, TestbedError, most_connections


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"servers": 0}, "servers: 0"),
        ({"servers": 4097}, "servers: 4097"),
        ({"source_addresses": 0}, "source addresses: 0"),
        ({"memcached_threads": 0}, "memcached threads: 0"),
        ({"memcached_connections": 0}, "memcached connections: 0"),
        ({"rtt": -0.001}, "rtt: -0.001"),
        ({"rtt": float("nan")}, "rtt: nan"),
        ({"rtt": 11}, "rtt: 11"),
    ],
)
def test_out_of_range_is_one_line_that_names_it(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(TestbedError) as caught:
        SitePlan(**wrong)
    assert str(caught.value).startswith(named)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("hard", "most"),
    [(20_000, 19_936), (1_048_576, 65_536), (resource.RLIM_INFINITY, 65_536), (100, 64)],
)
def test_connections_stay_below_the_open_files_limit(
    hard: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, hard))
    assert most_connections() == most
    assert SitePlan().memcached_connections == most
