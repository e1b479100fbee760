"""Which settings a plan changes: by table, and laws that hold for any situation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from lab.capacity import Kernel, Load, Settings, Situation
from lab.plan import HEADROOM, Plan, make
from lab.plan.remedies import _rewritten, reserved_for
from tests.lab.capacity.strategies import situations

FRESH = {
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.ipv4.ip_local_reserved_ports": "",
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.tcp_tw_reuse_delay": "1000",
    "net.ipv4.tcp_timestamps": "1",
    "net.ipv4.tcp_max_tw_buckets": "131072",
    "net.core.somaxconn": "4096",
    "net.netfilter.nf_conntrack_max": "262144",
    "net.netfilter.nf_conntrack_buckets": "262144",
    "net.netfilter.nf_conntrack_acct": "0",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait": "120",
    "net.netfilter.nf_conntrack_tcp_timeout_close": "10",
}


def planned(rate: float, changed: dict[str, str] | None = None, **load: Any) -> Plan:
    known = FRESH | (changed or {})
    kernel = load.pop("kernel", Kernel())
    situation = Situation(load=Load(rate=rate, **load), settings=Settings.of(known), kernel=kernel)
    return make(situation, known, tuning="kernel-default", kernel="6.18.44")


def lines(plan: Plan) -> dict[str, str]:
    return {line.key.rpartition(".")[2]: line.value for line in plan.lines}


REUSE = {"tcp_tw_reuse": "1"}
DAEMONS = "25672,26379,27017,30000-32767"


@pytest.mark.parametrize(
    ("rate", "changed", "load", "expected"),
    [
        (100, {}, {}, {}),
        (235 / HEADROOM, {}, {}, {}),
        (470, {}, {}, REUSE),  # it holds, but only by slow searches
        (7_000, {}, {}, REUSE),
        (20_000, {}, {}, REUSE | {"ip_local_reserved_ports": DAEMONS,
                                  "ip_local_port_range": "16384 65535"}),
        (20_000, {"net.ipv4.tcp_tw_reuse": "1"}, {}, {"ip_local_reserved_ports": DAEMONS,
                                                      "ip_local_port_range": "16384 65535"}),
        (20_000, {}, {"destinations": 2}, REUSE),
        (20_000, {}, {"sources": 2}, REUSE),
        (20_000, {}, {"close": "server"}, {}),
        (20_000, {}, {"close": "rst"}, {}),
        (20_000, {}, {"local_port_range": (32_768, 60_999)}, REUSE),
        (7_000, {"net.ipv4.tcp_timestamps": "0"}, {}, REUSE | {"tcp_timestamps": "1"}),
        (7_000, {"net.core.somaxconn": "128"}, {}, REUSE | {"somaxconn": "4096"}),
        (100, {"net.core.somaxconn": "128"}, {}, {}),  # nothing is wrong here
        # A low tcp_max_tw_buckets hides the want of ports: it is raised, and the ports are mended.
        (7_000, {"net.ipv4.tcp_max_tw_buckets": "5000"}, {},
         REUSE | {"tcp_max_tw_buckets": "16384"}),
        (3_000, {}, {"destinations": 200}, {"tcp_max_tw_buckets": "262144"}),
        (3_000, {}, {"destinations": 200, "tracked": True},
         {"tcp_max_tw_buckets": "262144", "nf_conntrack_tcp_timeout_time_wait": "60"}),
        (20_000, {}, {"sources": 50, "tracked": True, "close": "server"},
         {"tcp_max_tw_buckets": "1048576", "nf_conntrack_tcp_timeout_time_wait": "60",
          "nf_conntrack_max": "1048576", "nf_conntrack_buckets": "1048576"}),
        (90_000, {}, {"sources": 50, "tracked": True, "close": "rst"},
         {"nf_conntrack_max": "1048576", "nf_conntrack_buckets": "1048576"}),
    ],
)  # fmt: skip
def test_what_has_to_change(
    rate: float, changed: dict[str, str], load: dict[str, Any], expected: dict[str, str]
) -> None:
    plan = planned(rate, changed, **load)
    assert lines(plan) == expected
    assert plan.then.holds
    assert plan.enough


def test_a_rate_beyond_all_ports_takes_a_shorter_delay_where_the_kernel_has_one() -> None:
    plan = planned(40_000)
    assert lines(plan)["ip_local_port_range"] == "1024 65535"
    assert lines(plan)["tcp_tw_reuse_delay"] == "650"
    assert plan.enough


def test_without_that_key_more_addresses_are_asked_for() -> None:
    known = {key: value for key, value in FRESH.items() if not key.endswith("reuse_delay")}
    situation = Situation(load=Load(rate=40_000), settings=Settings.of(known))
    plan = make(situation, known, tuning="kernel-default", kernel="6.1.0")
    assert "tcp_tw_reuse_delay" not in lines(plan)
    assert plan.sources_needed == 2
    assert not plan.enough


def test_no_delay_below_a_tenth_of_a_second_is_advised() -> None:
    plan = planned(1_000_000)
    assert "tcp_tw_reuse_delay" not in lines(plan)
    assert not plan.then.holds
    assert plan.sources_needed > 30


def test_bind_before_connect_gains_nothing_from_reuse() -> None:
    """So the line is not in the file; the note says what the program must change."""
    plan = planned(20_000, bind_early=True)
    assert "tcp_tw_reuse" not in lines(plan)
    assert not plan.then.holds
    assert any("IP_BIND_ADDRESS_NO_PORT" in note for note in plan.notes)


def test_old_kernels_have_no_half_range_to_lose() -> None:
    plan = planned(20_000, kernel=Kernel(parity_first=False, socket_range=False))
    assert lines(plan) == REUSE


def test_reserved_ports_stay_reserved() -> None:
    plan = planned(20_000, {"net.ipv4.ip_local_reserved_ports": "40000-40009,50000"})
    assert lines(plan)["ip_local_reserved_ports"] == f"{DAEMONS},40000-40009,50000"


@pytest.mark.parametrize(
    ("low", "high", "kept", "expected"),
    [
        (16_384, 65_535, (), ((25_672, 25_672), (26_379, 26_379), (27_017, 27_017),
                              (30_000, 32_767))),
        (32_768, 60_999, (), ()),
        (32_768, 60_999, ((11_211, 11_211),), ((11_211, 11_211),)),
        (26_000, 65_535, ((26_380, 26_400),), ((26_379, 26_400), (27_017, 27_017),
                                               (30_000, 32_767))),
    ],
)  # fmt: skip
def test_daemons_ports_are_reserved(
    low: int,
    high: int,
    kept: tuple[tuple[int, int], ...],
    expected: tuple[tuple[int, int], ...],
) -> None:
    assert reserved_for(low, high, kept) == expected


def test_each_line_names_its_reason_its_price_and_its_side() -> None:
    sides = {line.key: line.side for line in planned(20_000, {"net.core.somaxconn": "128"}).lines}
    assert sides == {
        "net.ipv4.tcp_tw_reuse": "client",
        "net.ipv4.ip_local_reserved_ports": "client",
        "net.ipv4.ip_local_port_range": "client",
        "net.core.somaxconn": "server",
    }
    for line in planned(20_000).lines:
        assert line.why
        assert line.price
        assert line.was == FRESH[line.key]


def test_what_hides_a_want_of_ports_is_noted() -> None:
    plan = planned(7_000, {"net.ipv4.tcp_max_tw_buckets": "5000"})
    assert plan.now.holds  # as it seems
    assert any("tcp_max_tw_buckets = 5000" in note for note in plan.notes)


def test_the_hosts_lines_may_fail_and_are_noted() -> None:
    plan = planned(20_000, sources=50, tracked=True, close="server")
    host = [line for line in plan.lines if line.scope == "host"]
    assert {line.key for line in host} == {
        "net.netfilter.nf_conntrack_max",
        "net.netfilter.nf_conntrack_buckets",
    }
    assert all(line.may_fail for line in host)
    assert any("belong to the host" in note for note in plan.notes)


def test_the_application_is_advised_first_to_keep_connections() -> None:
    first, *rest = planned(20_000).program
    assert first.startswith("Keep connections open. 20,000 requests/s")
    assert any("IP_LOCAL_PORT_RANGE" in line and "46,330/s" in line for line in rest)
    assert any("more addresses" in line for line in rest)
    assert any("server close" in line for line in rest)


def test_advice_that_does_not_apply_is_not_given() -> None:
    """A load that the server closes holds no port: only pooling is left to say."""
    assert len(planned(20_000, close="server").program) == 1
    old = planned(20_000, kernel=Kernel.of("5.10.0")).program
    assert not any("IP_LOCAL_PORT_RANGE" in line for line in old)


def _of(situation: Situation) -> Plan:
    return make(situation, {}, tuning="any", kernel="6.18")


@given(situation=situations)
def test_a_plan_never_makes_it_worse(situation: Situation) -> None:
    """But for one thing: it takes away what hides a want of ports."""
    load = replace(situation.load, duration=None)
    found = _of(replace(situation, load=load))
    hidden = any(limit.name == "time_wait_buckets_full" for limit in found.now.limits)
    assert found.then.holds or not found.now.holds or hidden
    assert len({line.key for line in found.lines}) == len(found.lines)


@given(situation=situations)
def test_a_plan_that_is_enough_asks_for_nothing_more(situation: Situation) -> None:
    """Planned again under its own settings there is nothing left to change."""
    situation = replace(situation, load=replace(situation.load, duration=None))
    first = _of(situation)
    if not first.enough:
        return
    settings = situation.settings
    for line in first.lines:
        settings = _rewritten(settings, line.key, line.value)
    known = {line.key: line.value for line in first.lines}
    again = make(replace(situation, settings=settings), known, tuning="any", kernel="6.18")
    assert again.lines == []
