"""What can make the losses of an arm look smaller than they are, read from its trials. Pure.

Each sign is a counter of the kernel, or a fact of the load, that says: connections went through here
because something was given up that a user may need, not because a limit was lifted. docs/reports.md
lists every cause that can flatter an arm and how the verdict treats it; these are the ones that make
`prevents` and `reduces` into `hides`:

- *TIME_WAIT destroyed early.* Above tcp_max_tw_buckets the kernel ends a connection without TIME_WAIT
  (`tcp_time_wait` in net/ipv4/tcp_minisocks.c, TCPTimeWaitOverflow): its port is free at once, and a
  late segment of it can end up in the next connection of the same addresses (RFC 9293, 3.6.1).
- *Connections aborted for want of memory.* Above tcp_max_orphans or tcp_mem a closed connection is
  reset (`tcp_check_oom`, TCPAbortOnMemory): no TIME_WAIT either, and what was not sent yet is lost.
- *Entries of others evicted.* A full conntrack table makes room by dropping entries that nobody
  answered yet (`early_drop`): the connections counted here succeed at the cost of others'.
- *Reset on close*, where the other arm did not: nobody has a TIME_WAIT socket after a RST.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

import msgspec

from lab.analysis.text import count
from loadgen.summary import Summary


class Sign(msgspec.Struct, frozen=True):
    """One reason to doubt the successes of an arm."""

    name: str
    text: str
    """What happened, as a clause that follows `its successes rest on `."""


_COUNTED: Final[tuple[tuple[str, str, Callable[[str, str], str]], ...]] = (
    (
        "time_wait_destroyed",
        "netstat_TcpExt_TCPTimeWaitOverflow",
        lambda number, role: (
            f"TIME_WAIT given up: {number} connections of a trial ended without it, because "
            f"tcp_max_tw_buckets of the {role} was reached (TCPTimeWaitOverflow), and a stray "
            "segment of one can end up in the next"
        ),
    ),
    (
        "aborted_for_memory",
        "netstat_TcpExt_TCPAbortOnMemory",
        lambda number, role: (
            f"connections reset for want of memory: {number} of a trial on the {role} "
            "(TCPAbortOnMemory: tcp_max_orphans or tcp_mem), which leaves no TIME_WAIT"
        ),
    ),
    (
        "entries_evicted",
        "nf_conntrack_stat_early_drop",
        lambda number, role: (
            f"entries of others evicted from the full conntrack table of the {role}: {number} of a "
            "trial (early_drop)"
        ),
    ),
)
"""By counter: the name of the sign, the metric, and the clause for a number and a role."""


def resets(summaries: Sequence[Summary]) -> bool:
    """Return whether the connections of an arm ended by RST."""
    return bool(summaries) and all(run.config.close == "rst" for run in summaries)


def signs(summaries: Sequence[Summary]) -> tuple[Sign, ...]:
    """Return the reasons to doubt that the counters of an arm's trials give.

    A counter that moved in any trial is reported, with its median over the trials in which it moved.

    Args:
        summaries: of the trials that count.
    """
    found = []
    roles = dict.fromkeys(role for run in summaries for role in run.kernel)
    for name, metric, clause in _COUNTED:
        for role in roles:
            moved = [
                seen.delta
                for run in summaries
                if (seen := run.kernel.get(role, {}).get(metric)) is not None and seen.delta > 0
            ]
            if moved:
                found.append(Sign(name, clause(count(median(moved)), role)))
    return tuple(found)


def unexercised(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """Return why a load put no limit to the test though it may seem to, one clause each.

    Args:
        summaries: of the trials that count, of both arms.
    """
    closes = {run.config.close for run in summaries}
    reasons = []
    if closes == {"rst"}:
        reasons.append(
            "every connection was closed by RST, which leaves no TIME_WAIT and frees the port at "
            "once: --close client holds ports as most programs do"
        )
    elif closes == {"server"}:
        reasons.append(
            "the server closed first, so TIME_WAIT was the server's and no port of the client was "
            "held: --close client holds them"
        )
    if summaries and all(_through_loopback(run) for run in summaries):
        reasons.append(
            "the load went over loopback, where tcp_tw_reuse = 2, the default, reuses ports that a "
            "network does not"
        )
    return tuple(reasons)


def _through_loopback(run: Summary) -> bool:
    hosts = [host for host, _ in run.config.addresses]
    return bool(hosts) and all(host == "::1" or host.startswith("127.") for host in hosts)


def reached(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """Return the titles of limits that were reached without losing anyone, each once."""
    titles = [cause.title for run in summaries for cause in run.causes if not cause.connections]
    return tuple(dict.fromkeys(titles))
