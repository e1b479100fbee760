"""Which lines can do anything, found out in real fresh namespaces."""

from __future__ import annotations

import pytest

from lab.ablate.lines import look, wants_tracking
from lab.ablate.records import ALL, NONE
from lab.sysctl.tuning import Tuning, TuningError, parse
from lab.tunings import load

MIXED = """
net.ipv4.tcp_tw_reuse = 1
net.core.somaxconn = 4096
vm.swappiness = 1
net.ipv4.tcp_mem = 1 2 3
net.ipv4.ip_local_port_range = 40000 40999
"""


def tuned(text: str) -> Tuning:
    return parse(text, name="mine", source="./mine.conf")


@pytest.mark.kernel
def test_only_lines_that_change_something_are_weighed() -> None:
    lines = look(tuned(MIXED), tracked=False)
    assert {line.key.rpartition(".")[2]: line.state for line in lines.lines} == {
        "tcp_tw_reuse": "active",
        "somaxconn": "inert",
        "swappiness": "out_of_scope",
        "tcp_mem": "out_of_scope",
        "ip_local_port_range": "active",
    }
    assert list(lines.arms) == [NONE, ALL, "only-tcp_tw_reuse", "without-tcp_tw_reuse"]
    reasons = {line.key: line.reason for line in lines.lines}
    assert reasons["net.ipv4.tcp_tw_reuse"] == "2"
    assert reasons["net.core.somaxconn"] == "the value that a fresh namespace has anyway"
    assert reasons["net.ipv4.tcp_mem"].startswith("belongs to the host")
    assert lines.notes == []


@pytest.mark.kernel
def test_the_articles_lines() -> None:
    lines = look(load("article"), tracked=True)
    states = {line.key.rpartition(".")[2]: line.state for line in lines.lines}
    assert states["tcp_tw_reuse"] == states["ip_local_port_range"] == "active"
    assert states["nf_conntrack_buckets"] == "out_of_scope"
    assert len(lines.arms) == 4


@pytest.mark.kernel
def test_one_line_may_be_asked_for() -> None:
    lines = look(tuned(MIXED), ["net.ipv4.tcp_tw_reuse"], tracked=False)
    asked = [line for line in lines.lines if line.without is not None]
    assert [line.key for line in asked] == ["net.ipv4.tcp_tw_reuse"]
    assert [line.key for line in lines.lines if line.asked] == ["net.ipv4.tcp_tw_reuse"]
    assert lines.arms[ALL] == ["net.ipv4.tcp_tw_reuse", "net.ipv4.ip_local_port_range"]
    with pytest.raises(ValueError, match=r"mine has no line 'net\.x'; it has net\.ipv4"):
        look(tuned(MIXED), ["net.x"], tracked=False)


@pytest.mark.kernel
def test_a_line_that_another_needs_is_found_out() -> None:
    """A range below 1024 holds only where ports from there on need no privilege."""
    lines = look(
        tuned(
            "net.ipv4.ip_unprivileged_port_start = 400\nnet.ipv4.ip_local_port_range = 500 999\n"
        ),
        tracked=False,
    )
    start, ports = lines.lines
    assert start.without is None
    assert "ip_local_port_range" in start.unfit
    assert ports.alone is None
    assert ports.without == "only-ip_unprivileged_port_start"
    assert len(lines.notes) == 1


@pytest.mark.kernel
def test_a_tuning_that_can_do_nothing_has_no_line_to_weigh() -> None:
    lines = look(tuned("vm.swappiness = 1\nnet.core.somaxconn = 4096\n"), tracked=False)
    assert lines.arms == {NONE: [], ALL: []}


@pytest.mark.kernel
def test_a_mistake_is_named() -> None:
    with pytest.raises(TuningError, match=r"all arm .*mine\.conf:1: net\.ipv4\.tcp_tw_reuze"):
        look(tuned("net.ipv4.tcp_tw_reuze = 1\n"), tracked=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("net.netfilter.nf_conntrack_max = 1\n", True),
        ("net.netfilter.nf_conntrack_tcp_timeout_time_wait = 1\n", True),
        ("net.ipv4.ip_conntrack_max = 1\n", True),
        ("net.ipv4.netfilter.ip_conntrack_tcp_timeout_close = 1\n", True),
        ("net.ipv4.tcp_tw_reuse = 1\n", False),
    ],
)
def test_lines_about_connection_tracking_are_told(text: str, expected: bool) -> None:
    assert wants_tracking(tuned(text)) is expected
