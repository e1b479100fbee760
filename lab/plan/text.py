"""A plan as text for people: what will happen, what to change, what that costs. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Final

from lab.analysis.text import count, memory, plural, seconds, significant
from lab.capacity import LIMITS, Forecast, Limit, LimitName
from lab.plan.files import compose_blocks, sysctl_file, topology
from lab.plan.records import Plan

_WIDTH: Final = 96
_ANY_RATE: Final = 1_000_000
"""Connections per second that no processor of today makes."""


def _slow(limit: Limit, found: Forecast) -> str:
    ports = found.ports
    detour = (
        f"after {count(limit.connections)} connections every quick port is held: each connect() "
        f"passes over {count(ports.quick)} ports, about {seconds(ports.slow_connect)}"
    )
    if not limit.loses:
        return f"{detour}. No connection is lost, but each costs that much CPU."
    return (
        f"{detour}, and the rate falls to some {count(ports.slow_rate)}/s without any error; the "
        f"first arrival is lost at {seconds(limit.lost_at or limit.at)}. (How slow depends on the "
        "machine; when does not.)"
    )


def _exhausted(limit: Limit, found: Forecast) -> str:  # noqa: ARG001 - the signature of the others - one signature for all
    return f"after {count(limit.connections)} connections no port is free: EADDRNOTAVAIL"


def _tracked(limit: Limit, found: Forecast) -> str:
    most = found.conntrack.most if found.conntrack else None
    size = f" of {count(most)} entries" if most is not None else ""
    return (
        f"after {count(limit.connections)} connections the conntrack table{size} is full: SYNs are "
        "dropped and connects time out"
    )


def _buckets(limit: Limit, found: Forecast) -> str:  # noqa: ARG001 - the signature of the others
    return (
        f"after {count(limit.connections)} connections tcp_max_tw_buckets is reached: connections "
        "end without TIME_WAIT, unprotected against stray segments"
    )


def _mappings(limit: Limit, found: Forecast) -> str:  # noqa: ARG001 - one signature for all
    return (
        f"after {count(limit.connections)} connections the NAT has no port left for these "
        "destinations: SYNs are dropped and connects time out"
    )


def _files(limit: Limit, found: Forecast) -> str:  # noqa: ARG001 - the signature of the others
    return f"{count(limit.connections)} connections are open at once: EMFILE"


_SENTENCES: Final[dict[LimitName, Callable[[Limit, Forecast], str]]] = {
    "port_search_slow": _slow,
    "ports_exhausted": _exhausted,
    "conntrack_full": _tracked,
    "nat_ports_exhausted": _mappings,
    "time_wait_buckets_full": _buckets,
    "open_files": _files,
}


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest)


def forecast_lines(found: Forecast) -> list[str]:
    """Return what a forecast says, one thought a paragraph, wrapped."""
    span = "" if found.duration is None else f" for {seconds(found.duration)}"
    verb = "holds" if found.holds else "does not hold"
    lines = [f"{verb} {count(found.rate)}/s{span}"]
    for limit in found.limits:
        at = f"{seconds(limit.at):>8}  "
        lines += _wrapped(_SENTENCES[limit.name](limit, found), at, " " * len(at))
    lines += _wrapped(f"sustains {_capacity(found)}", "", "  ")
    return [*lines, *_wrapped(f"in the long run: {'; '.join(_steady(found))}", "", "  ")]


def _capacity(found: Forecast) -> str:
    rate, ports = found.sustainable_rate, found.ports
    if rate is None or rate > _ANY_RATE:
        return "any rate, as far as ports and tables go; the processors are the limit"
    span = "" if found.duration is None else f" for {seconds(found.duration)}"
    bound = f"; the bound is {LIMITS[found.bound_by].bound}" if found.bound_by else ""
    detour = ""
    if ports.quick < ports.usable and ports.quick_rate is not None and ports.quick_rate < rate:
        detour = (
            f"; above {count(ports.quick_rate)}/s for long, connect() takes the slow search, about "
            f"{seconds(ports.slow_connect)} each"
        )
    return f"{count(rate)}/s{span}{bound}{detour}"


def _steady(found: Forecast) -> list[str]:
    waiting = found.time_wait
    facts = []
    if waiting.side == "nobody":
        facts.append("no TIME_WAIT sockets")
    else:
        facts.append(
            f"{count(waiting.sockets)} TIME_WAIT sockets on the {waiting.side} "
            f"({memory(waiting.bytes)})"
        )
    tracked = found.conntrack
    if tracked is not None:
        most = "" if tracked.most is None else f" of {count(tracked.most)}"
        table = "" if tracked.table_bytes is None else f", hash table {memory(tracked.table_bytes)}"
        facts.append(
            f"up to {count(tracked.entries)}{most} conntrack entries where one table sees them all "
            f"({memory(tracked.bytes)}{table})"
        )
    facts.append(f"about {plural(max(1, round(found.in_flight)), 'connection')} open at once")
    facts.append(f"kernel work of {significant(found.floor_cpus, 2)} CPU on the client")
    facts.append(f"a server that pauses for {seconds(found.accept_pause)} fills its accept queue")
    return facts


def _changes(plan: Plan) -> list[str]:
    if not plan.lines:
        if plan.now.holds:
            return ["Nothing has to change."]
        return ["No setting helps; the application can (below)."]
    share = f"{plan.headroom - 1:.0%}"
    lines = [f"Change, for this rate and {share} more:"]
    for line in plan.lines:
        was = "" if line.was is None else f"   (now {line.was or 'empty'})"
        lines.append(f"  {line.key} = {line.value}{was}")
        lines += _wrapped(f"{line.why}; price: {line.price}", "      ", "      ")
    told = forecast_lines(plan.then)
    lines += [
        "",
        f"With that it {told[0]}, and tables take {memory(plan.bytes_then)} in the long run "
        f"(now {memory(plan.bytes_now)}):",
        *(f"  {text}" for text in told[1:]),
    ]
    if plan.sources_needed > plan.load.sources:
        lines += _wrapped(
            f"The settings alone are not enough for {share} more: it takes {plan.sources_needed} "
            f"client addresses (now {plan.load.sources}), or one of the ways below.",
            "  ",
            "  ",
        )
    return lines


def render(plan: Plan) -> str:
    """Return the text that `lab plan` prints."""
    lines = [
        f"{plan.tuning} at {count(plan.now.rate)}/s, {topology(plan)} (Linux {plan.kernel})",
        *(f"  {text}" for text in forecast_lines(plan.now)),
        "",
        *_changes(plan),
    ]
    if plan.lines:
        lines += ["", "As a sysctl.d file:", *_indented(sysctl_file(plan))]
    for side, block in compose_blocks(plan).items():
        lines += ["", f"In a compose file, under the {side}'s service:", *_indented(block)]
    lines += ["", "Instead, or beside it, in the application (often the right answer):"]
    for text in plan.program:
        lines += _wrapped(text, "  - ", "    ")
    if plan.notes:
        lines += ["", "Notes:"]
        for text in plan.notes:
            lines += _wrapped(text, "  - ", "    ")
    return "\n".join(lines) + "\n"


def _indented(text: str) -> list[str]:
    return [f"  {line}".rstrip() for line in text.rstrip("\n").split("\n")]
