"""conntrack: when it tracks, how long it keeps an entry, and what a full table does.

An entry lives by conntrack's own timers (net/netfilter/nf_conntrack_proto_tcp.c), whatever the
socket does. A SYN that meets an entry in TIME_WAIT replaces it, so the table holds at most one
entry for each combination of addresses and ports.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from lab.claims.connections import PORT, burst, serve
from lab.claims.experiments.base import ClaimExperiment
from lab.claims.experiments.ports import LOW, RANGE, REUSE
from lab.claims.experiments.time_wait import TIME_WAIT
from lab.claims.findings import EntrySize, EntryTimers, FullTable, Tracking
from lab.testbed import tracking
from lab.testbed.base import UntestableError
from lab.testbed.ground import Ground, sleep
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER

ENTRIES: Final = "nf_conntrack_entries"
LIMIT: Final = "nf_conntrack_entries_limit"
TIMEOUT: Final = "net.netfilter.nf_conntrack_tcp_timeout_time_wait"
_SHORT: Final = 3
_TUPLES: Final = 50


def tracked(ground: Ground) -> Tracking:
    """Open connections without a rule that needs tracking, then with one."""
    watch = ground.watch(ROLE_SERVER)
    service = serve(ground)
    count = 500
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + _TUPLES - 1}"})
    before = watch.value(ENTRIES)
    burst(ground, service, count, close="server")
    untracked = watch.value(ENTRIES) - before
    tracking.enable(ground.namespace(ROLE_SERVER))
    # The server closes first, so that ports come back at once and the tuples are few.
    done = burst(ground, service, count, close="server")
    opened, used = done.opened, len(set(done.ports))
    found = watch.value(ENTRIES) - before
    return Tracking(
        untracked=untracked,
        tracked=found,
        connections=opened,
        tuples=_TUPLES,
        evidence=[
            f"no rule with ct or nat in it: {untracked} entries after {count} connections",
            f"with `ct state established` in prerouting: {found} entries after {opened} "
            f"connections from one address to one address and port; connect() used {used} of the "
            f"range's {_TUPLES} ports, since each was free again when the next was wanted",
        ],
    )


def timers(ground: Ground) -> EntryTimers:
    """Look at what entries have left, then shorten the timer and wait for it to pass."""
    tracking.enable(ground.namespace(ROLE_CLIENT))
    default = int(ground.get(ROLE_CLIENT, TIMEOUT) or 0)
    burst(ground, serve(ground), 10)
    burst(ground, serve(ground, PORT + 1), 10, close="rst")
    listed = tracking.entries(ground.namespace(ROLE_CLIENT))
    closed = [entry for entry in listed if entry.port == PORT]
    reset = [entry for entry in listed if entry.port == PORT + 1]
    if not closed or not reset:
        raise UntestableError("conntrack lists no entries of the connections that were made")
    ground.set(ROLE_CLIENT, {TIMEOUT: _SHORT})
    watch = ground.watch(ROLE_CLIENT)
    made = burst(ground, serve(ground, PORT + 2), _TUPLES).opened
    started = time.monotonic()
    sleep(_SHORT + 1.5)
    after = [e for e in tracking.entries(ground.namespace(ROLE_CLIENT)) if e.port == PORT + 2]
    looked = time.monotonic() - started
    sockets = watch.moved(TIME_WAIT)
    states = {entry.state for entry in closed}
    return EntryTimers(
        default=default,
        left=max(entry.left for entry in closed),
        reset_state=reset[0].state,
        reset_left=max(entry.left for entry in reset),
        short=_SHORT,
        entries=made,
        entries_after=len(after),
        sockets_after=sockets,
        looked_after=looked,
        evidence=[
            f"{TIMEOUT} = {default}; just closed, entries are in {', '.join(sorted(states))} with "
            f"{max(entry.left for entry in closed)} s left",
            f"connections that were reset: {reset[0].state}, "
            f"{max(entry.left for entry in reset)} s left",
            f"the timer set to {_SHORT} s: of {made} entries {len(after)} were left after "
            f"{looked:.1f} s, and {sockets} of the TIME_WAIT sockets",
        ],
    )


def full(ground: Ground) -> FullTable:
    """Fill the server's table to its limit; connect over known tuples, then over new ones."""
    server = ground.namespace(ROLE_SERVER)
    tracking.enable(server)
    watch, client = ground.watch(ROLE_SERVER), ground.watch(ROLE_CLIENT)
    limit = watch.value(LIMIT)
    service = serve(ground)
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + _TUPLES - 1}", REUSE: 1})
    burst(ground, service, _TUPLES)
    ground.stack.callback(tracking.flush, server)
    tracking.fill(server, limit - watch.value(ENTRIES))
    filled = watch.value(ENTRIES)
    if filled < limit:
        raise UntestableError(f"the table could not be filled: {filled:,} of {limit:,} entries")
    sleep(2.2)  # the reuse delay, see `reuse`
    again = burst(ground, service, _TUPLES)
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW + 1_000} {LOW + 1_999}"})
    watch.reset()
    client.reset()
    fresh = burst(ground, service, 3, patience=1.3)
    drops = watch.moved("nf_conntrack_stat_drop")
    repeats = client.moved("netstat_TcpExt_TCPSynRetrans")
    tried = fresh.opened + sum(fresh.errors.values())
    errors = ", ".join(f"{count} {name}" for name, count in fresh.errors.items()) or "no error"
    return FullTable(
        limit=limit,
        filled=filled,
        tuples=_TUPLES,
        reused=_TUPLES,
        reused_ok=again.opened,
        fresh=tried,
        fresh_ok=fresh.opened,
        fresh_errors=dict(fresh.errors),
        drops=drops,
        syn_repeats=repeats,
        evidence=[
            f"the server's table was filled: {filled:,} entries, limit {limit:,}",
            f"tcp_tw_reuse=1, the same {_TUPLES} tuples again: {again.opened} of {_TUPLES} "
            "connections",
            f"new tuples: {fresh.opened} of {tried} connections, {errors} after 1.3 s each, "
            f"conntrack drop +{drops}, TCPSynRetrans +{repeats}",
        ],
    )


def size(ground: Ground) -> EntrySize:  # noqa: ARG001 - the slab is the machine's
    """Read the size of nf_conntrack's objects in /proc/slabinfo (slabinfo(5))."""
    try:
        text = Path("/proc/slabinfo").read_text()
    except OSError as error:
        raise UntestableError(
            f"/proc/slabinfo: {error.strerror}: only root on the host may read it"
        ) from error
    found = object_size(text)
    if found is None:
        raise UntestableError(
            "/proc/slabinfo has no nf_conntrack: the module is not loaded, or merged"
        )
    return EntrySize(
        object_size=found,
        evidence=[
            f"/proc/slabinfo: an object of nf_conntrack has {found} bytes, so 1,000,000 entries "
            f"take {found} MB"
        ],
    )


def object_size(slabinfo: str) -> int | None:
    """Return the bytes of an nf_conntrack object: the fourth column, None without such a line."""
    for line in slabinfo.splitlines():
        words = line.split()
        if len(words) > 3 and words[0] == "nf_conntrack":
            return int(words[3])
    return None


EXPERIMENTS = (
    ClaimExperiment(name="conntrack-tracking", finding=Tracking, run=tracked),
    ClaimExperiment(name="conntrack-timers", finding=EntryTimers, run=timers, waits=True),
    ClaimExperiment(name="conntrack-full", finding=FullTable, run=full, limit=60.0),
    ClaimExperiment(name="conntrack-entry-size", finding=EntrySize, run=size),
)
