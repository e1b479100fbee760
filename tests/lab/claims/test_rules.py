"""Each rule on findings of other kernels: what would have to be measured for another verdict."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from lab.claims import findings as f
from lab.claims.catalogue import ENTRIES, conntrack, names, packets, ports, reuse, time_wait
from lab.claims.claim import Claim
from lab.claims.records import Verdict
from tests.lab.claims.samples import OF

Rule = Callable[[Any], Verdict]
SIZES = ["net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets"]

TABLE: list[tuple[Rule, type[f.Finding], dict[str, Any], Verdict]] = [
    (
        packets.handshake_order, f.Packets,
        {"handshake": ["client SYN", "server ACK", "client SYN/ACK"]}, "confirmed",
    ),
    (packets.handshake_order, f.Packets, {"handshake": []}, "refuted"),
    (packets.at_least_ten, f.Packets, {"client_close_range": (9, 10)}, "refuted"),
    (packets.at_least_ten, f.Packets, {"client_close_range": (10, 12)}, "confirmed"),
    (packets.a_round_trip_a_packet, f.Packets, {"trips_whole": 10}, "confirmed"),
    (packets.takes_fifteen_round_trips, f.Delayed, {"reply": 0.6}, "confirmed"),
    (packets.takes_fifteen_round_trips, f.Delayed, {"reply": 0.12}, "refuted"),
    (time_wait.lasts_a_minute, f.Lifetimes, {"time_wait": [60.0]}, "confirmed"),
    (time_wait.lasts_a_minute, f.Lifetimes, {"time_wait": [59.6, 64.1]}, "confirmed"),
    (time_wait.lasts_a_minute, f.Lifetimes, {"time_wait": [67.6]}, "confirmed"),
    (time_wait.lasts_a_minute, f.Lifetimes, {"time_wait": [68.5]}, "refuted"),
    (time_wait.lasts_a_minute, f.Lifetimes, {"time_wait": [60.1, 30.0]}, "refuted"),
    # A machine that looked only every 3 s cannot tell 68 s from 67.5.
    (time_wait.lasts_a_minute, f.Lifetimes, {"time_wait": [69.0], "resolution": 3.0}, "confirmed"),
    (time_wait.follows_fin_timeout, f.Lifetimes, {"time_wait": [5.1, 5.3]}, "confirmed"),
    (time_wait.follows_fin_timeout, f.Lifetimes, {"time_wait": [33.0]}, "refuted"),
    (
        time_wait.any_side_waits, f.Holders,
        {"client_close": (20, 20), "server_close": (20, 20), "reset": (20, 20)}, "confirmed",
    ),
    (time_wait.any_side_waits, f.Holders, {"client_close": (0, 0)}, "refuted"),
    (time_wait.answers_with_rst, f.StraySegments, {"to_fin": "RST"}, "confirmed"),
    (time_wait.answers_with_rst, f.StraySegments, {"to_fin": "RST/ACK"}, "confirmed"),
    (time_wait.answers_with_rst, f.StraySegments, {"to_fin": "nothing"}, "refuted"),
    (reuse.default_is_0, f.ReuseSettings, {"default": "0"}, "confirmed"),
    (reuse.default_is_0, f.ReuseSettings, {"default": "1"}, "refuted"),
    (reuse.is_boolean, f.ReuseSettings, {"accepted": [0, 1]}, "confirmed"),
    (reuse.recycles, f.ReuseModes, {"idle_after": 0}, "confirmed"),
    (reuse.prevents_failures, f.ReuseModes, {"again": {"0": 0, "1": 40}}, "refuted"),
    # All ports again even without it: something else freed them, and it proves nothing.
    (reuse.prevents_failures, f.ReuseModes, {"again": {"0": 100, "1": 100}}, "refuted"),
    (
        reuse.prevents_failures, f.ReuseModes,
        {"recycled": {"0": 0, "1": 0, "2": 0}}, "refuted",
    ),
    (
        reuse.reuses_only_when_safe, f.ReuseConditions,
        {"timestamps": {"1,1": 100, "0,1": 100, "1,0": 100, "0,0": 100}}, "confirmed",
    ),
    (
        reuse.reuses_only_when_safe, f.ReuseConditions,
        {"timestamps": {"1,1": 0, "0,1": 0, "1,0": 0, "0,0": 0}}, "refuted",
    ),
    (
        reuse.helps_everywhere, f.ReuseConditions,
        {"only_on_server": 100, "bound": 100}, "confirmed",
    ),
    (
        reuse.helps_everywhere, f.ReuseConditions,
        {"timestamps": {"1,1": 0}, "bound_late": 0}, "refuted",
    ),
    (reuse.reuses_at_once, f.ReuseRate, {"delay": 0.01, "refused": 0}, "confirmed"),
    (reuse.reuses_at_once, f.ReuseRate, {"delay": None, "sustained": 0.0}, "refuted"),
    (conntrack.follows_time_wait, f.EntryTimers, {"entries_after": 50}, "confirmed"),
    # The sockets went too: then it is not shown that the timers are apart.
    (conntrack.follows_time_wait, f.EntryTimers, {"sockets_after": 0}, "confirmed"),
    (conntrack.tracked_for_60s, f.Lifetimes, {"tracked_after": 0}, "confirmed"),
    (
        conntrack.tracked_for_60s, f.Lifetimes,
        {"tracked_after": None, "tracked_left": None}, "untestable_here",
    ),
    (conntrack.always_fills, f.Tracking, {"tracked": 500, "untracked": 500}, "confirmed"),
    (conntrack.always_fills, f.Tracking, {"tracked": 500}, "confirmed"),
    (conntrack.always_fills, f.Tracking, {"tracked": 0}, "refuted"),
    (conntrack.overflow_fails, f.FullTable, {"fresh_ok": 3, "drops": 0}, "refuted"),
    # They failed, but conntrack dropped nothing: something else was in the way.
    (conntrack.overflow_fails, f.FullTable, {"drops": 0}, "refuted"),
    (conntrack.reuse_spares_the_table, f.FullTable, {"fresh_ok": 3}, "confirmed"),
    (conntrack.reuse_spares_the_table, f.FullTable, {"reused_ok": 49}, "refuted"),
    (conntrack.takes_400_bytes, f.EntrySize, {"object_size": 384}, "confirmed"),
    (conntrack.takes_400_bytes, f.EntrySize, {"object_size": 320}, "refuted"),
    (names.old_max_exists, f.Conntrack, {"old_max_exists": True}, "confirmed"),
    (names.old_buckets_exist, f.Conntrack, {"old_buckets_exists": True}, "confirmed"),
    (names.has_old_sizes, f.Conntrack, {"entries": 65_536, "buckets": 16_384}, "confirmed"),
    (names.has_old_sizes, f.Conntrack, {"entries": 65_536, "buckets": 65_536}, "refuted"),
    (names.is_four_to_one, f.Conntrack, {"entries": 262_144, "buckets": 65_536}, "confirmed"),
    (names.raises_both, f.Conntrack, {"entries": 65_536, "buckets": 16_384}, "confirmed"),
    (names.raises_both, f.Conntrack, {"entries": 1_000_000, "buckets": 65_536}, "refuted"),
    (names.settable_anywhere, f.Conntrack, {"settable_in_namespace": SIZES}, "confirmed"),
    (names.settable_anywhere, f.Conntrack, {"settable_in_namespace": SIZES[:1]}, "conditional"),
    (ports.default_range, f.PortDefaults, {"high": 61_000}, "confirmed"),
    (ports.number_of_ports, f.UsablePorts, {"opened": 99}, "confirmed"),
    (ports.number_of_ports, f.UsablePorts, {"opened": 50}, "refuted"),
    (ports.per_server, f.UsablePorts, {"other_port": 0}, "confirmed"),
    (ports.per_server, f.UsablePorts, {"other_port": 0, "other_address": 0}, "refuted"),
    (ports.more_ports_help, f.UsablePorts, {"wide_opened": 100}, "refuted"),
    (
        ports.wide_range_is_safe, f.StolenPort,
        {"while_open": "ok", "while_open_shared": "ok", "in_time_wait_shared": "ok"}, "confirmed",
    ),
    (ports.wide_range_is_safe, f.StolenPort, {"in_time_wait_shared": "ok"}, "conditional"),
    (ports.wide_range_is_safe, f.StolenPort, {"reserved_took": True}, "refuted"),
    (ports.wide_range_is_safe, f.StolenPort, {"reserved_bind": "EADDRINUSE"}, "refuted"),
    (ports.whole_range_at_speed, f.PortSearch, {"last_quarter": 59e-6}, "confirmed"),
    (ports.whole_range_at_speed, f.PortSearch, {"last_quarter": 61e-6}, "refuted"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "kind", "changes", "verdict"), TABLE)
def test_a_rule_decides_by_what_was_measured(
    rule: Rule, kind: type[f.Finding], changes: dict[str, Any], verdict: Verdict
) -> None:
    assert rule(msgspec.structs.replace(OF[kind], **changes)) == verdict


def test_every_outcome_of_every_claim_is_reached() -> None:
    """By the table above or by the findings of 6.18: no reading is written for nothing."""
    reached = {
        claim.name: {claim.rule(OF[claim.finding])}
        | {verdict for rule, _, _, verdict in TABLE if rule == claim.rule}
        for claim in ENTRIES
        if isinstance(claim, Claim)
    }
    readings = {claim.name: set(claim.readings) for claim in ENTRIES if isinstance(claim, Claim)}
    assert reached == readings
