"""A plan as files and as text: what is written is a tuning, and proves itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from lab.capacity import Situation
from lab.plan import Plan, compose_blocks, make, render, sysctl_file
from lab.plan.files import proof
from lab.sysctl.tuning import parse
from tests.lab.capacity.strategies import situations
from tests.lab.plan.test_remedies import planned


def test_the_file_is_the_plan() -> None:
    plan = planned(20_000)
    text = sysctl_file(plan)
    assert parse(text, name="x", source="x").values == {line.key: line.value for line in plan.lines}
    assert text.startswith(
        "# plan: holds 20,000 connections/s, 1 client address to 1 server, closed by the client.\n"
        "# Computed by lab plan. Prove it: lab run --after FILE --rate 20000\n"
    )
    assert "\n# Was: 2\nnet.ipv4.tcp_tw_reuse = 1\n" in text
    assert max(map(len, text.splitlines())) <= 96


def test_a_line_of_the_host_may_fail() -> None:
    text = sysctl_file(planned(20_000, sources=50, tracked=True, close="server"))
    assert "\n-net.netfilter.nf_conntrack_max = 1048576\n" in text


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (planned(100), "# Nothing is set: the load holds as it is.\n"),
        (planned(1_000, {"net.ipv4.ip_local_port_range": "32768 32769"}, bind_early=True,
                 local_port_range=(32_768, 32_769)), "# Nothing is set: no setting helps here.\n"),
    ],
)  # fmt: skip
def test_a_file_that_sets_nothing_says_why(plan: Plan, says: str) -> None:
    assert plan.lines == []
    assert sysctl_file(plan).endswith(says)


@pytest.mark.parametrize(
    ("load", "command"),
    [
        ({}, "lab run --after F --rate 7000"),
        (
            {"sources": 2, "destinations": 3, "close": "server"},
            "lab run --after F --rate 7000 --clients 2 --servers 3 --close server",
        ),
        (
            {"local_port_range": (40_000, 40_999)},
            "lab run --after F --rate 7000 --local-port-range 40000-40999",
        ),
    ],
)
def test_the_proof_repeats_the_load(load: dict[str, Any], command: str) -> None:
    assert proof(planned(7_000, **load), "F") == command


def test_compose_blocks_are_each_services_own() -> None:
    """What is the host's is in none of them, since no container can set it."""
    assert compose_blocks(planned(7_000, {"net.core.somaxconn": "128"})) == {
        "client": 'sysctls:\n  net.ipv4.tcp_tw_reuse: "1"\n',
        "server": 'sysctls:\n  net.core.somaxconn: "4096"\n',
    }
    tracked = compose_blocks(planned(20_000, sources=50, tracked=True, close="server"))
    assert "nf_conntrack_max" not in "".join(tracked.values())
    assert compose_blocks(planned(100)) == {}


def test_the_text_says_what_breaks_what_to_change_and_what_it_costs() -> None:
    text = render(planned(20_000, tracked=True))
    for says in (
        "does not hold 20,000/s",
        "after 14,116 connections every quick port is held",
        "sustains 471/s",
        "net.ipv4.tcp_tw_reuse = 1   (now 2)",
        "With that it holds 20,000/s, and tables take 19.9 MB in the long run (now 23.8 MB)",
        "In a compose file, under the client's service:",
        "(often the right answer)",
    ):
        assert says in " ".join(text.split()) or says in text
    for line in text.splitlines():
        assert len(line) <= 98


def test_the_text_of_a_load_that_holds() -> None:
    text = render(planned(100))
    assert "Nothing has to change." in text
    assert "sysctl.d" not in text


def test_the_text_of_a_load_that_no_setting_helps() -> None:
    text = render(planned(20_000, bind_early=True))
    assert "it takes 45 client addresses (now 1)" in " ".join(text.split())
    assert "EADDRNOTAVAIL" in text


def test_a_rate_that_no_table_bounds_is_no_figure() -> None:
    text = render(planned(20_000, close="server"))
    assert "sustains any rate, as far as ports and tables go" in text


@given(situation=situations)
def test_any_plan_can_be_written(situation: Situation) -> None:
    plan = make(situation, {}, tuning="any", kernel="6.18")
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert parse(sysctl_file(plan), name="x", source="x").values.keys() == {
        line.key for line in plan.lines
    }
    assert render(plan).endswith("\n")
