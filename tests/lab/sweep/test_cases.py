"""Each case of the validation: its settings can be, and the model has a figure for it."""

from __future__ import annotations

import pytest

from lab.capacity import Load, Settings, Situation, forecast
from lab.sweep.cases import CASES, TOLERANCES, Case
from lab.sysctl.tuning import parse

PREDICTED = {
    "ports": 1_000,
    "loopback-only reuse": 1_000,
    "destinations": 3_000,
    "sources": 2_000,
    "bind early": 2_000,
    "reserved ports": 750,
    "odd range": 1_000,
    "socket option": 600,
    "default range": 28_232,
    "no timestamps": 1_000,
    "slow search": 14_180,
    "reuse": 1_000,
    "short delay": 1_000,
    "reuse, destinations": 1_200,
    "reuse, sources": 1_000,
    "reuse, buckets": 4_000,
    "conntrack": 2.0,
    "conntrack, reset": 2.0,
    "nat, table": 2.0,
    "nat, ports": 128,
    "proxy, ports": 1_000,
    "server closes": 500,
}


def _situation(case: Case) -> Situation:
    return Situation(
        load=Load(
            rate=case.rate,
            duration=case.duration,
            close=case.load.close,
            sources=case.sources,
            destinations=case.servers,
            bind_early=case.load.bind_early,
            local_port_range=case.load.local_port_range,
            rtt=0.0,
            service=case.service,
            timeout=case.load.timeout,
            tracked=case.margin is not None or case.nat_room is not None,
            tracked_before=262_144 - (case.margin or case.nat_room or 0),
            nat=case.topology == "nat",
            nat_ports=case.nat_ports,
        ),
        # Behind a proxy it is the proxy that the model is asked about.
        settings=Settings.of(
            {"net.netfilter.nf_conntrack_max": "262144"}
            | parse(case.settings + case.box, name="x", source="x").values
        ),
    )


def test_the_table_knows_every_case() -> None:
    assert [case.name for case in CASES] == list(PREDICTED)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_model_has_a_figure_for_each_case(case: Case) -> None:
    found = case.predict(forecast(_situation(case)))
    assert found == pytest.approx(PREDICTED[case.name], rel=TOLERANCES[case.quantity])


def test_the_cases_vary_all_that_the_model_depends_on() -> None:
    """Range, reuse, delay, sources, destinations, close mode; and each figure has its tolerance."""
    texts = " ".join(case.settings for case in CASES)
    for key in ("ip_local_port_range", "tcp_tw_reuse", "tcp_tw_reuse_delay", "tcp_timestamps"):
        assert key in texts
    assert len({case.sources for case in CASES}) > 1
    assert len({case.servers for case in CASES}) > 1
    for varied in ("close", "bind_early", "local_port_range"):
        assert len({getattr(case.load, varied) for case in CASES}) > 1
    assert TOLERANCES == {"connections": 0.005, "rate": 0.05, "time": 0.05, "sockets": 0.005}
    assert all(case.quantity in TOLERANCES for case in CASES)
