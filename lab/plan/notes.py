"""What a plan has to say beside its lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.analysis.text import count, plural, seconds
from lab.capacity import Forecast, Mappings, Search, Situation, pools
from lab.capacity.situation import REUSE
from lab.plan.records import PlannedLine
from lab.sysctl.flags import taken_by

_ANY_RATE: Final = 1_000_000
"""Connections per second that no processor of today makes."""


def notes_on(situation: Situation, now: Forecast, lines: Sequence[PlannedLine]) -> list[str]:
    """Return one sentence for each thing that a reader of the plan should know.

    Args:
        situation: the load, and the settings under the tuning in question.
        now: the forecast for these.
        lines: what the plan changes.
    """
    load, settings = situation.load, situation.settings
    notes = []
    if load.loopback:
        notes.append("over loopback tcp_tw_reuse = 2 reuses ports already; a network does not")
    reserved = ",".join(f"{first}-{last}" for first, last in settings.reserved)
    taken = taken_by(reserved, " ".join(map(str, settings.ports)))
    if taken is not None and taken[0]:
        low, high = settings.ports
        every = " all" if taken[0] == taken[1] else ""
        notes.append(
            f"ip_local_reserved_ports takes away{every} {taken[0]:,} of the {taken[1]:,} ports of the "
            f"range {low}-{high}, for connect() never chooses a reserved one"
        )
    if load.nat:
        notes.append(_nat(situation))
    if load.bind_early and load.close == "client":
        notes.append(
            "bind() before connect() takes a port from every destination and is never reused: set "
            "IP_BIND_ADDRESS_NO_PORT before it, and plan again"
        )
    if load.local_port_range is not None and not situation.kernel.socket_range:
        notes.append("this kernel has no IP_LOCAL_PORT_RANGE; it came with 6.3")
    if situation.kernel.whole_seconds and any(line.key == REUSE for line in lines):
        notes.append(
            "before 6.14 a port that is reused was free since the last full second, so 0 to 1 s: "
            "bursts within a second meet the same bound, and no setting shortens it"
        )
    if any(limit.name == "time_wait_buckets_full" for limit in now.limits):
        most = settings.server_max_time_wait if load.close == "server" else settings.max_time_wait
        notes.append(
            f"tcp_max_tw_buckets = {most}: connections beyond it end without TIME_WAIT, which hides "
            "a want of ports and drops the protection against stray segments"
        )
    if any(line.scope == "host" for line in lines):
        notes.append(
            "lines that begin with '-' and belong to the host are left out by lab run, which "
            "changes no host: what it proves are the others"
        )
    notes += [f"{key} could not be read; its documented default was used" for key in now.assumed]
    return notes


def _nat(situation: Situation) -> str:
    """What the NAT's ports are worth: how many there are, how long one is held, what that carries."""
    load = situation.load
    found = Mappings(situation.settings, load, situation.kernel, Search(pools(situation), load))
    each = found.ports // load.destinations
    why = (
        "a NAT without a free port evicts a mapping whose connection has closed"
        if situation.kernel.nat_evicts
        else "this kernel keeps a mapping until conntrack's timer is up"
    )
    carries = (
        "more than the clients have ports for"
        if found.full_rate == float("inf")
        else "more than any processor opens"
        if found.full_rate > _ANY_RATE
        else f"{count(found.full_rate)}/s"
    )
    return (
        f"the NAT has {plural(each, 'port')} toward each server and holds one for "
        f"{seconds(found.hold)} a connection ({why}): that carries {carries}. Its table and its timers "
        "are set on the NAT, not on client or server"
    )
