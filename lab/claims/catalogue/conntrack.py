"""The article on connection tracking at work."""

from __future__ import annotations

from lab.claims.claim import Claim
from lab.claims.findings import EntrySize, EntryTimers, FullTable, Lifetimes, Tracking
from lab.claims.records import Verdict


def follows_time_wait(found: EntryTimers) -> Verdict:
    """Decide by whether entries went when only conntrack's timer was shortened."""
    apart = found.entries_after == 0 and found.sockets_after >= found.entries
    return "refuted" if apart else "confirmed"


def tracked_for_60s(found: Lifetimes) -> Verdict:
    """Decide by the entries that were left when the sockets were gone."""
    if found.tracked_after is None:
        return "untestable_here"
    return "confirmed" if found.tracked_after == 0 else "refuted"


def always_fills(found: Tracking) -> Verdict:
    """Decide by entries for each connection: without a rule, and over few ports."""
    if found.tracked == 0:
        return "refuted"
    bounded = found.untracked == 0 and found.tracked <= found.tuples
    return "conditional" if bounded else "confirmed"


def overflow_fails(found: FullTable) -> Verdict:
    """Decide by new connections through a full table, and conntrack's own count of drops."""
    return "confirmed" if found.fresh_ok == 0 and found.drops > 0 else "refuted"


def reuse_spares_the_table(found: FullTable) -> Verdict:
    """Decide by connections through a full table: over known tuples, over new ones."""
    if found.reused_ok < found.reused:
        return "refuted"
    return "conditional" if found.fresh_ok == 0 else "confirmed"


def takes_400_bytes(found: EntrySize) -> Verdict:
    """Decide by the slab's object size, a tenth either way."""
    return "confirmed" if 360 <= found.object_size <= 440 else "refuted"


_FILLS = "During that time, the conntrack bucket fill up, and potentially overflows."

ENTRIES = (
    Claim(
        name="conntrack-follows-time-wait",
        says="conntrack keeps an entry because the socket is in TIME_WAIT",
        quote="The side effect of using a TIME_WAIT of 60 seconds is that conntrack must keep "
        "track of the connection during that time.",
        row=7,
        finding=EntryTimers,
        metric="entries and TIME_WAIT sockets after conntrack's own timer alone was shortened to 3 s",
        expected="both still there",
        figure=lambda found: (
            f"{found.entries_after} of {found.entries} entries, {found.sockets_after} sockets "
            f"after {found.looked_after:.1f} s"
        ),
        rule=follows_time_wait,
        readings={
            "confirmed": "entries stay as long as the sockets do",
            "refuted": "conntrack has timers of its own and knows nothing of the socket's; neither "
            "changes the other",
        },
        paper="refuted",
        instead="where a table overflows, shorten nf_conntrack_tcp_timeout_time_wait, or do not "
        "track that traffic (notrack)",
        sources=("Documentation/networking/nf_conntrack-sysctl.rst",),
    ),
    Claim(
        name="conntrack-tracks-60s",
        says="a closed connection is tracked for 60 s",
        quote="So a connection will take 0.009s to process, and then be tracked for 60s.",
        row=7,
        finding=Lifetimes,
        metric="entries left when the TIME_WAIT sockets were gone",
        expected="none",
        figure=lambda found: (
            f"{found.tracked_after} of {found.sockets}, with {found.tracked_left} s left"
        ),
        rule=tracked_for_60s,
        readings={
            "confirmed": "the entries were gone with the sockets",
            "refuted": "an entry lives twice as long as the socket, 120 s by default, so a table "
            "holds twice what the article expects",
            "untestable_here": "nft or conntrack is missing, or the kernel cannot track; install "
            "them with: apt install nftables conntrack",
        },
        paper="refuted",
        instead="size the table for rate x 120 s, or for the number of distinct tuples if that is "
        "less",
    ),
    Claim(
        name="conntrack-fills",
        says="every connection adds an entry for its time",
        quote=_FILLS,
        row=8,
        finding=Tracking,
        metric="entries after 500 connections over 50 ports, without and with a rule that tracks",
        expected="500",
        figure=lambda found: f"{found.untracked} without a rule, {found.tracked} with one",
        rule=always_fills,
        readings={
            "confirmed": "each connection added one",
            "conditional": "nothing is tracked until a rule needs it, and the table holds one "
            "entry for each combination of addresses and ports: one client address and one "
            "server port have 28,232 by default, and cannot fill a table of 65,536",
            "refuted": "no entry was made even with a rule",
        },
        condition="a rule with ct or nat is loaded where the packets pass, and there are more "
        "distinct tuples than nf_conntrack_max",
        paper="conditional",
        instead="look at nf_conntrack_count before touching nf_conntrack_max",
        sources=("commit 4d3a57f23dec (hooks on demand)",),
    ),
    Claim(
        name="conntrack-overflow-fails",
        says="a full table makes connections fail",
        quote=_FILLS,
        row=8,
        finding=FullTable,
        metric="new connections through a full table, and conntrack's drop counter",
        expected="they fail, and drops are counted",
        figure=lambda found: (
            f"{found.fresh_ok} of {found.fresh} connected, drop +{found.drops}, SYNs sent again "
            f"{found.syn_repeats}"
        ),
        rule=overflow_fails,
        readings={
            "confirmed": "the SYN is dropped without a word: the client sees a time-out, not an "
            "error, and only conntrack's drop counter tells why",
            "refuted": "new connections passed a full table",
        },
        paper="confirmed",
        instead="watch conntrack's drop counter where the table is: a time-out alone does not name "
        "it",
    ),
    Claim(
        name="reuse-spares-conntrack",
        says="tcp_tw_reuse=1 keeps the table from overflowing",
        quote="In the kernel, a recycle parameter exists for this very purpose:",
        row=10,
        finding=FullTable,
        metric="connections through a full table with tcp_tw_reuse=1: known tuples, new ones",
        expected="all pass",
        figure=lambda found: (
            f"known {found.reused_ok}/{found.reused}, new {found.fresh_ok}/{found.fresh}"
        ),
        rule=reuse_spares_the_table,
        readings={
            "confirmed": "all passed",
            "conditional": "a SYN over a known tuple replaces its old entry, so few clients and "
            "servers do not grow the table; every new combination needs an entry of its own",
            "refuted": "connections over known tuples failed as well",
        },
        condition="connections use the same addresses and ports again: few clients, few servers",
        paper="conditional",
        instead="against many clients, shorten conntrack's timers, do not track, or raise "
        "nf_conntrack_max",
    ),
    Claim(
        name="conntrack-entry-400-bytes",
        says="an entry takes 400 bytes, a million 400 MB",
        quote="A conntrack consumes 400 bytes in the kernel (see /proc/slabinfo), which means "
        "tracking 1,000,000 connections would consume 400MBytes of RAM:",
        row=20,
        finding=EntrySize,
        metric="object size of the slab nf_conntrack",
        expected="400 bytes",
        figure=lambda found: f"{found.object_size} bytes",
        rule=takes_400_bytes,
        readings={
            "confirmed": "about as the article says",
            "refuted": "the article's figure is of another kernel; nf_conntrack_acct=1 adds 128 "
            "bytes to an entry, and the hash 8 bytes a bucket",
        },
        paper="refuted",
    ),
)
