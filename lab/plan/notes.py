"""What a plan has to say beside its lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lab.capacity import Forecast, Situation
from lab.capacity.situation import REUSE
from lab.plan.records import Line


def notes_on(situation: Situation, now: Forecast, lines: Sequence[Line]) -> list[str]:
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
