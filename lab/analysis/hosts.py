"""What each host of a topology held, before and after; and on which of them the limit lies. Pure.

With a box between client and servers the question behind every verdict is whose limit it was: a
tuning of the client moves nothing on a NAT. The answer is read from the causes' evidence, which
names the namespace that it was read in, and where a cause names none, from the drops of the box's
own connection table.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from lab.analysis.records import HostFigure
from lab.analysis.text import plural
from loadgen.diagnosis.kinds import HOPS
from loadgen.report.rows import ranked_causes
from loadgen.sample import BOX_ROLES, ROLE_CLIENT, ROLE_SERVER
from loadgen.summary import MetricRange, Summary

_DROPS: Final = ("nf_conntrack_stat_drop", "nf_conntrack_stat_insert_failed")
_OF_FAULT: Final = {
    "client_host": ROLE_CLIENT,
    "server_host": ROLE_SERVER,
    "server": ROLE_SERVER,
}
_SHARE: Final = 0.5
"""Of the failed attempts: so many drops of a box's table make its limit the limit."""


class _Figure(msgspec.Struct, frozen=True):
    name: str
    metrics: tuple[str, ...]
    of: str
    """`max`, or `delta` for counters."""


_FIGURES: Final = (
    _Figure("TIME_WAIT sockets, at most", ("sockstat_TCP_tw",), "max"),
    _Figure("connections open, at most", ("sockstat_TCP_inuse",), "max"),
    _Figure("connections tracked, at most", ("nf_conntrack_entries",), "max"),
    _Figure("packets dropped for want of an entry or a port", _DROPS, "delta"),
)


def _called(role: str) -> str:
    """Return what the host of a role is called in a sentence."""
    return HOPS[role].host if role in HOPS else role


def boxes(summaries: Sequence[Summary]) -> list[str]:
    """Return the roles of the boxes between client and servers that were sampled."""
    seen = {role for run in summaries for role in run.kernel}
    return [role for role in BOX_ROLES if role in seen]


def figures(before: Sequence[Summary], after: Sequence[Summary]) -> list[HostFigure]:
    """Return what each host held, as medians over the trials; nothing without a box in between."""
    found = boxes([*before, *after])
    if not found:
        return []
    rows = []
    for role in (ROLE_CLIENT, *found, ROLE_SERVER):
        for figure in _FIGURES:
            values = [_median(role, figure, arm) for arm in (before, after)]
            if any(values):
                rows.append(
                    HostFigure(role=role, name=figure.name, before=values[0], after=values[1])
                )
    return rows


def _median(role: str, figure: _Figure, arm: Sequence[Summary]) -> float | None:
    readings = []
    for run in arm:
        ranges = [run.kernel.get(role, {}).get(metric) for metric in figure.metrics]
        known = [seen for seen in ranges if seen is not None]
        if known:
            readings.append(sum(_value(seen, figure.of) for seen in known))
    return median(readings) if readings else None


def _value(seen: MetricRange, of: str) -> float:
    return seen.delta if of == "delta" else seen.max


def limit_role(summaries: Sequence[Summary]) -> str | None:
    """Return the role on whose host the limit lies that cost most connections; None when unknown."""
    lost = sum(run.failed for run in summaries)
    for role in boxes(summaries):
        drops = sum(
            seen.delta
            for run in summaries
            for metric in _DROPS
            if (seen := run.kernel.get(role, {}).get(metric)) is not None
        )
        if lost and drops >= lost * _SHARE:
            return role
    for cause, connections, _ in ranked_causes(summaries):
        if not connections:
            break
        named = [evidence.role for evidence in cause.evidence if evidence.role in BOX_ROLES]
        return named[0] if named else _OF_FAULT.get(cause.fault)
    return None


def whose(
    before: Sequence[Summary], after: Sequence[Summary], tuned: Sequence[str], *, helped: bool
) -> str:
    """Return a sentence on whose limit it was and what the tuning could do about it.

    Args:
        before: trials of the first arm that count.
        after: of the second.
        tuned: the roles that the second arm's tuning was applied to.
        helped: whether less was lost after.

    Returns:
        Nothing without a box in between, or where nothing was lost.
    """
    if not boxes([*before, *after]):
        return ""
    first, second = limit_role(before), limit_role(after)
    if first is None and second is None:
        return ""
    limit = first or second or ""
    at = _called(limit)
    changed = " and ".join(_called(role) for role in tuned)
    if helped and limit not in tuned:
        if second is None:
            return (
                f" The limit lay on {at}, and the tuning of {changed} kept the load away from it."
            )
        return (
            f" The limit lies on {at}: the tuning of {changed} kept a part of the load away from it and "
            f"cannot move it. What can belongs on {at}: --after {limit}=FILE."
        )
    if helped:
        rest = f" What is left is the limit of {_called(second)}." if second else ""
        return f" The limit lay on {at}, and its own tuning moved it.{rest}"
    if limit not in tuned:
        noun = plural(len(tuned), "host").partition(" ")[2]
        return (
            f" The limit lies on {at}, and the tuning changes {changed} alone: no setting of "
            f"{'that' if noun == 'host' else 'those'} {noun} can move it. What can belongs on {at}: "
            f"--after {limit}=FILE."
        )
    return f" The limit lies on {at}, and its tuning did not move it."
