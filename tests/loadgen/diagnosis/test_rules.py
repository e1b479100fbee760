"""Diagnoses of what a test machine cannot be brought to, or has no counter for: old kernels,
unwatched servers, full CPUs. The faults that can be provoked are in tests/faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from loadgen.run.conclude import Ended, conclude
from loadgen.sample import Sample
from loadgen.summary import Number, Summary
from tests.loadgen.builders import about, generator_sample, run_config

SERVER = ("198.18.0.2", 11211)
EXT, IP, TCP = "netstat_TcpExt_", "netstat_Ip_", "netstat_Tcp_"
WATCHED: dict[str, Number] = {f"{TCP}InSegs": 1000}
"""What every namespace that was sampled has."""
UNANSWERED: dict[str, Number] = {f"{EXT}TCPSynRetrans": 20}
"""Of the client: ten attempts sent their SYN three times each."""

Moved = Mapping[str, Number]


def observe(
    outcomes: Mapping[str, int],
    moved: Mapping[str, Moved],
    *,
    held: Mapping[str, Moved] | None = None,
    sysctls: dict[str, dict[str, str]] | None = None,
    ok: int = 0,
    **config: Any,
) -> Summary:
    """Return the summary of a run of one second.

    Args:
        outcomes: failed attempts by outcome.
        moved: by role, how far counters moved.
        held: by role, what gauges read.
        sysctls: in force, by role.
        ok: attempts that succeeded.
        config: changes to the configuration.
    """
    failed = sum(outcomes.values())
    started = ok + failed
    counts: dict[str, Number] = {f"outcome_{name}": count for name, count in outcomes.items()}
    counts |= {"scheduled": started, "started": started, "ok": ok, "failed": failed}
    samples = [generator_sample(0.05)]
    for role in {*moved, *(held or {})}:
        gauges = (held or {}).get(role, {})
        counters = {**WATCHED, **moved.get(role, {})}
        samples.append(Sample(0.0, role, {**dict.fromkeys(counters, 0), **gauges}))
        samples.append(Sample(1.0, role, {**counters, **gauges}))
    samples.append(generator_sample(1.0, **counts))
    options = {"addresses": [SERVER], "timeout": 3.0, **config}
    known = about(run_config(**options), Ended(elapsed=1.0), sysctls=sysctls or {})
    return conclude(known, sorted(samples, key=lambda item: item.t), {})


def named(summary: Summary) -> list[tuple[str, str, int]]:
    return [(cause.cause, cause.fault, cause.connections) for cause in summary.causes]


@pytest.mark.parametrize(
    ("moved", "held", "expected"),
    [
        pytest.param(
            {"client": UNANSWERED, "server": {f"{EXT}IPReversePathFilter": 30}},
            {},
            ("reverse_path_filter_server", "server_host"),
            id="rp_filter on the server",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "host": {"softnet_dropped_total": 30}},
            {},
            ("softnet_backlog_full", "client_host"),
            id="CPUs that take packets in too slowly",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {"nf_conntrack_stat_drop": 30}},
            {"server": {"nf_conntrack_entries": 5, "nf_conntrack_entries_limit": 1000}},
            ("conntrack_drops_server", "server_host"),
            id="conntrack drops with room in its table",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {"nf_conntrack_stat_drop": 30}},
            {"server": {"nf_conntrack_entries": 995, "nf_conntrack_entries_limit": 1000}},
            ("conntrack_full_server", "server_host"),
            id="conntrack drops with a table that was full between two readings",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "nat": {"nf_conntrack_stat_drop": 30}},
            {
                "nat": {
                    "nf_conntrack_entries": 5,
                    "nf_conntrack_entries_limit": 1000,
                    "nat_ports_in_use": 5,
                    "nat_ports_limit": 1000,
                }
            },
            ("conntrack_drops_nat", "network"),
            id="conntrack drops with room in its table on a NAT",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "nat": {f"{IP}InReceives": 30}},
            {},
            ("firewall_nat", "network"),
            id="packets that vanished on a NAT",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "nat": {f"{EXT}IPReversePathFilter": 30}},
            {},
            ("reverse_path_filter_nat", "network"),
            id="rp_filter on a NAT",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "proxy": {"nf_conntrack_stat_drop": 30}},
            {"proxy": {"nf_conntrack_entries": 995, "nf_conntrack_entries_limit": 1000}},
            ("conntrack_full_proxy", "server_host"),
            id="a full table on a proxy's host",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "proxy": {"nf_conntrack_stat_drop": 30}},
            {"proxy": {"nf_conntrack_entries": 5, "nf_conntrack_entries_limit": 1000}},
            ("conntrack_drops_proxy", "server_host"),
            id="conntrack drops with room in its table on a proxy's host",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "proxy": {f"{IP}InReceives": 30}},
            {},
            ("firewall_proxy", "server_host"),
            id="packets that vanished on a proxy's host",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "proxy": {f"{EXT}IPReversePathFilter": 30}},
            {},
            ("reverse_path_filter_proxy", "server_host"),
            id="rp_filter on a proxy's host",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "nat": {"nf_conntrack_stat_drop": 30}},
            {
                "nat": {
                    "nf_conntrack_entries": 50,
                    "nf_conntrack_entries_limit": 1000,
                    "nat_ports_in_use": 50,
                    "nat_ports_limit": 50,
                }
            },
            ("nat_ports_exhausted", "network"),
            id="a NAT that holds all its ports",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {f"{EXT}PAWSTimewait": 30}},
            {},
            ("time_wait_answers_syn", "server_host"),
            id="SYNs that met a TIME_WAIT socket",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "router": {"netstat_IpExt_InNoRoutes": 30}},
            {"router": {"routes_missing": 1}},
            ("no_route_between", "network"),
            id="a router without a route",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}, "router": {f"{IP}InReceives": 30}},
            {"router": {"routes_blackhole": 1}},
            ("no_route_between", "network"),
            id="a router with a blackhole route",
        ),
        pytest.param(
            {"client": UNANSWERED},
            {},
            ("lost_beyond_client", "network"),
            id="nobody but the client was watched",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {f"{EXT}ListenDrops": 30}},
            {},
            ("listener_drops", "server_host"),
            id="a listener that drops with room in its queues",
        ),
        pytest.param(
            {
                "client": {**UNANSWERED, f"{EXT}TCPRetransFail": 20, f"{TCP}ActiveOpens": 10},
                "server": {},
            },
            {},
            ("firewall_client", "client_host"),
            id="a kernel that does not count what leaves it (before 6.7)",
        ),
        pytest.param(
            {"client": {f"{EXT}TCPTimeouts": 30}, "server": {}},
            {},
            ("unreachable", "network"),
            id="SYNs that never left",
        ),
        pytest.param(
            {"client": UNANSWERED, "server": {}},
            {},
            ("packet_loss", "network"),
            id="no counter moved on either side",
        ),
    ],
)
def test_handshakes_that_timed_out(
    moved: dict[str, Moved], held: dict[str, Moved], expected: tuple[str, str]
) -> None:
    found = observe({"connect_timeout": 10}, moved, held=held)
    assert named(found) == [(*expected, 10)]
    assert found.causes[0].evidence


@pytest.mark.parametrize(
    ("role", "metric", "expected"),
    [
        ("client", "nf_conntrack_stat_drop", ("conntrack_drops_client", "client_host")),
        ("host", "nf_conntrack_stat_drop", ("conntrack_drops_between", "network")),
        ("client", f"{EXT}IPReversePathFilter", ("reverse_path_filter_client", "client_host")),
        ("host", f"{EXT}IPReversePathFilter", ("reverse_path_filter_between", "network")),
    ],
)
def test_a_drop_is_that_of_the_host_that_counted_it(
    role: str, metric: str, expected: tuple[str, str]
) -> None:
    moved: dict[str, dict[str, Number]] = {"client": dict(UNANSWERED), "server": {}, "host": {}}
    moved[role][metric] = 30
    room = {role: {"nf_conntrack_entries": 5, "nf_conntrack_entries_limit": 1000}}
    assert named(observe({"connect_timeout": 10}, moved, held=room)) == [(*expected, 10)]


def test_the_generator_s_own_bound_is_not_the_server_s_fault() -> None:
    """Little's law: answered quickly, and still too many at a time for the bound it was given."""
    samples = [
        generator_sample(0.05),
        generator_sample(1.0, scheduled=100, started=60, ok=60, dropped=40, drop_in_flight=40),
    ]
    (cause,) = conclude(about(run_config(), Ended(elapsed=1.0)), samples, {}).causes
    assert (cause.cause, cause.fault, cause.connections) == ("in_flight_limit", "generator", 40)
    assert "--max-in-flight" in cause.remedy


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("denied", ("denied_on_client", "client_host")),
        ("no_memory", ("client_out_of_memory", "client_host")),
        ("bad_source", ("source_address_missing", "client_host")),
        ("tls_certificate_expired", ("tls_certificate_expired", "server")),
        ("tls_wrong_name", ("tls_wrong_name", "server")),
        ("tls_unknown_ca", ("tls_unknown_ca", "client_host")),
        ("tls_refused", ("tls_refused", "server")),
        ("tls_failed", ("tls_failed", "server")),
        ("tls_timeout", ("tls_timeout", "server")),
        ("not_tls", ("not_tls", "server")),
        ("request_refused", ("request_refused", "server")),
        ("not_authenticated", ("not_authenticated", "server")),
        ("server_loading", ("server_loading", "server")),
        ("other_error", ("unexplained", "network")),
    ],
)
def test_outcomes_that_need_no_counter(outcome: str, expected: tuple[str, str]) -> None:
    assert named(observe({outcome: 7}, {"client": {}, "server": {}})) == [(*expected, 7)]


@pytest.mark.parametrize(
    ("rejected", "held", "said"),
    [
        (
            {"memcached_rejected_connections": 9},
            {"memcached_curr_connections": 99, "memcached_max_connections": 100},
            "memcached held up to 99 connections, limit 100 (-c)",
        ),
        (
            {"redis_rejected_connections": 9},
            {"redis_connected_clients": 40, "redis_maxclients": 40},
            "Redis held up to 40 connections, limit 40 (maxclients)",
        ),
        ({"nginx_dropped": 9}, {"nginx_active": 4}, "nginx rejected 9 connections"),
    ],
)
def test_a_server_at_its_limit_may_cut_off_before_its_word_is_heard(
    rejected: Moved, held: Moved, said: str
) -> None:
    """Of 12 failed attempts it turned 9 away, and told 4 of them."""
    outcomes = {"too_many_connections": 4, "reset": 5, "truncated_reply": 3}
    summary = observe(outcomes, {"client": {}, "server": rejected}, held={"server": held})
    assert named(summary)[0] == ("server_connection_limit", "server", 9)
    assert any(said in item.text for item in summary.causes[0].evidence)


def test_a_server_that_nobody_watched_is_not_guessed_at() -> None:
    """The client's own host is ruled out; the remedy is to watch, or to ask on the other hosts."""
    (cause,) = observe({"connect_timeout": 10}, {"client": UNANSWERED}).causes
    assert cause.cause == "lost_beyond_client"
    assert "cannot be told from here" in cause.remedy
    assert "--netns server=" in cause.remedy
    assert "nstat -az" in cause.remedy


def test_a_timeout_too_short_to_tell_says_so() -> None:
    """Before the second SYN is due, a drop on the client's own way out shows in no counter."""
    found = observe({"connect_timeout": 10}, {"client": {}, "server": {}}, timeout=0.5)
    (cause,) = found.causes
    assert cause.cause == "unexplained"
    assert "raise --timeout above 1s" in cause.title


def test_the_part_that_counters_do_not_cover_is_lost_on_the_way() -> None:
    """20 retransmissions and 10 last SYNs went unanswered; conntrack owns up to 15 of these 30."""
    found = observe(
        {"connect_timeout": 10},
        {"client": UNANSWERED, "server": {"nf_conntrack_stat_drop": 15}},
    )
    assert named(found) == [
        ("conntrack_full_server", "server_host", 5),
        ("packet_loss", "network", 5),
    ]


def test_stray_packets_are_no_firewall() -> None:
    """Every host discards a few packets; what is left over must be worth the name."""
    stray = {f"{IP}InReceives": 102, f"{IP}InDelivers": 100}
    found = observe({"connect_timeout": 10}, {"client": UNANSWERED, "server": stray})
    assert named(found) == [("packet_loss", "network", 10)]


def test_a_listener_that_resets_when_its_queue_is_full() -> None:
    """tcp_abort_on_overflow turns the drop into a RST."""
    found = observe(
        {"reset": 10},
        {"client": {}, "server": {f"{EXT}ListenOverflows": 10, f"{EXT}ListenDrops": 10}},
        sysctls={"server": {"net.ipv4.tcp_abort_on_overflow": "1"}},
    )
    assert named(found) == [("accept_queue_overflow", "server_host", 10)]


def test_clients_of_several_shards_add_up_and_their_server_does_not() -> None:
    """Each shard saw the same server's table drop the packets of both."""
    server = {"nf_conntrack_stat_drop": 30}
    half = {f"{EXT}TCPSynRetrans": 10}
    moved = {"client": half, "client@2": half, "server": server, "server@2": server}
    found = observe({"connect_timeout": 10}, moved)
    assert named(found) == [("conntrack_full_server", "server_host", 10)]


def test_a_refusal_that_the_server_did_not_send_was_a_firewall_s() -> None:
    """Of 10 RSTs the server's kernel sent 4."""
    found = observe({"connect_refused": 10}, {"client": {}, "server": {f"{TCP}OutRsts": 4}})
    assert named(found) == [
        ("firewall_between", "network", 6),
        ("server_refuses", "server", 4),
    ]


@pytest.mark.parametrize(
    ("moved", "config", "expected"),
    [
        ({"client": {f"{EXT}TWRecycled": 5}, "server": {}}, {}, "time_wait_reused"),
        (
            {"client": {}, "server": {f"{EXT}TW": 100}},
            {"close": "server"},
            "server_holds_time_wait",
        ),
        ({"client": {}, "server": {}}, {"close": "rst"}, "closed_by_reset"),
        (
            {"client": {"nf_conntrack_stat_early_drop": 3}, "server": {}},
            {},
            "conntrack_early_drop",
        ),
    ],
)
def test_successes_are_explained(
    moved: dict[str, Moved], config: dict[str, Any], expected: str
) -> None:
    found = observe({}, moved, ok=100, **config)
    assert [item.name for item in found.explanations] == [expected]
    assert named(found) == []


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({}, [("syn_cookies_sent", "server_host", 0)]),
        ({"memcached_listen_disabled_num": 2}, []),  # it set a backlog of 0 itself
    ],
)
def test_cookies_of_a_listener_that_memcached_switched_off_are_no_finding(
    limit: Moved, expected: list[tuple[str, str, int]]
) -> None:
    cookies = {f"{EXT}TCPReqQFullDoCookies": 4, f"{EXT}SyncookiesSent": 4}
    found = observe({}, {"client": {}, "server": {**cookies, **limit}}, ok=100)
    assert named(found) == expected


def test_a_request_that_the_lost_route_cut_off_has_its_cause() -> None:
    """One connection was made when the route went: its request was never acknowledged."""
    summary = observe(
        {"unreachable": 199, "reply_timeout": 1},
        {"client": {}, "server": {}},
        held={"client": {"routes_missing": 1}},
        ok=100,
    )
    assert named(summary) == [("no_route", "client_host", 200)]


@pytest.mark.parametrize("outcome", ["connect_refused", "reset", "truncated_reply"])
def test_who_answered_is_not_claimed_where_only_the_client_was_watched(outcome: str) -> None:
    """A firewall's RST is the server's, for all that a client can see."""
    alone = observe({outcome: 10}, {"client": {}})
    assert "looks the same from here: --netns server=PID" in alone.causes[0].remedy
    seen = observe({outcome: 10}, {"client": {}, "server": {f"{TCP}OutRsts": 10}})
    assert "from here" not in seen.causes[0].remedy
