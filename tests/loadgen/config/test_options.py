"""The configuration: operations, and the law it stands for."""

from __future__ import annotations

import msgspec
import pytest

from loadgen.config import RunConfig, parse_mix
from loadgen.config.schedule import Constant
from loadgen.target import Target
from tests.loadgen.builders import run_config


@pytest.mark.parametrize(
    ("text", "gets"),
    [("get", 1.0), ("set", 0.0), ("mix:90/10", 0.9), ("mix:1/0", 1.0), ("mix:0/3", 0.0)],
)
def test_an_operation_is_a_share_of_gets(text: str, gets: float) -> None:
    assert parse_mix(text) == gets


@pytest.mark.parametrize(
    "text",
    ["", "GET", "mix", "mix:", "mix:1", "mix:0/0", "mix:-1/2", "mix:a/b", "mix:1/2/3", "mix:²/1"],
)
def test_what_is_no_operation_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an operation: write get, set or mix:90/10"):
        parse_mix(text)


def test_the_law_covers_warm_up_and_duration() -> None:
    assert run_config(rate=100.0, duration=4.0, warmup=1.0).law() == Constant(100.0, 5.0)
    assert run_config(rate=100.0, duration=0.1, warmup=0.2).law() == Constant(100.0, 0.3)


def test_a_configuration_survives_its_file() -> None:
    config = run_config(shard=(1, 3), local_port_range=(1, 9), namespaces={"server": "s"})
    assert msgspec.json.decode(msgspec.json.encode(config), type=RunConfig) == config
    assert config.parsed_targets() == [Target("127.0.0.1", 11211)]
