"""A tuning as text for people: what it sets, what it stands for, what to doubt. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lab.sysctl.catalogue import CATALOGUE, Sysctl
from lab.sysctl.flags import flags, taken_by
from lab.sysctl.names import obsolete
from lab.sysctl.tuning import Setting, Tuning, is_glob

_RANGE: Final = "net.ipv4.ip_local_port_range"
_RESERVED: Final = "net.ipv4.ip_local_reserved_ports"


def render(tuning: Tuning, host: Mapping[str, str] | None = None) -> str:
    """Return the text that `lab tunings show` prints.

    The file as it is, then a table of its lines, the old names that they stand for, and the flags.

    Args:
        tuning: what to show.
        host: the values in force on this host, by dotted key; without them no line can be compared
            with the host and the section of flags is left out.
    """
    sections = [f"{tuning.name} ({tuning.source})", tuning.text.rstrip("\n")]
    if tuning.settings:
        sections.append(_section("What each line does", _meanings(tuning, host or {})))
    sections.append(_section("Old names, and what became of them", _mapping(tuning)))
    told = {note for setting in tuning.settings if setting.was for note in _stands_for(setting)}
    others = [note for note in tuning.notes if not any(note.endswith(end) for end in told)]
    sections.append(_section("Notes", others))
    if host is not None:
        doubts = flags(tuning, host) or (["none"] if tuning.settings else [])
        sections.append(_section("Flags, against this host's values", doubts))
    return "\n\n".join(part for part in sections if part) + "\n"


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)]) if lines else ""


def _stands_for(setting: Setting) -> list[str]:
    return [f"stands for '{setting.was}'"]


def _meanings(tuning: Tuning, host: Mapping[str, str]) -> list[str]:
    lines = []
    for setting in tuning.settings:
        mark = "-" if setting.may_fail else ""
        now = f"   [this host: {host[setting.key]}]" if setting.key in host else ""
        lines.append(f"{mark}{setting.key} = {setting.value}{now}")
        entry = CATALOGUE.get(setting.key)
        lines += [f"    {told}" for told in _facts(entry)] if entry else _unknown(setting.key)
        lines += [f"    {told}" for told in _ports_taken(setting, tuning.values, host)]
    return lines


def _ports_taken(setting: Setting, values: Mapping[str, str], host: Mapping[str, str]) -> list[str]:
    """How many ports of the range a reservation takes away."""
    if setting.key != _RESERVED:
        return []
    span = values.get(_RANGE, host.get(_RANGE, CATALOGUE[_RANGE].default))
    found = taken_by(setting.value, span)
    if found is None:
        return []
    return [
        f"takes away {found[0]:,} of the {found[1]:,} ports of the range {'-'.join(span.split())}"
    ]


def _facts(entry: Sysctl) -> list[str]:
    scope = (
        "each namespace's own" if entry.scope == "namespace" else "the host's, for all namespaces"
    )
    numbers = [f"unit: {entry.unit}"] if entry.unit else []
    if entry.permitted:
        numbers.append(f"permitted: {entry.permitted}")
    if entry.default or entry.default_note:
        numbers.append(f"default: {', '.join(filter(None, (entry.default, entry.default_note)))}")
    if entry.since:
        numbers.append(f"since Linux {entry.since}")
    facts = [entry.does, "; ".join([scope, *numbers])]
    return [*facts, f"price: {entry.price}"] if entry.price else facts


def _unknown(key: str) -> list[str]:
    past = obsolete(key)
    if past is not None:
        return [f"    {past.why}" + (f"; today's name is {past.became}" if past.became else "")]
    if not key.startswith("net."):
        return ["    outside net.*: the lab leaves it as it is"]
    if is_glob(key):
        return ["    a glob over network devices: the lab leaves it out"]
    return ["    not in the lab's catalogue: applied as it stands where the kernel has it"]


def _mapping(tuning: Tuning) -> list[str]:
    """Return old line → today's line, aligned, for lines whose author wrote something else."""
    pairs = []
    for setting in tuning.settings:
        today = f"{setting.key} = {setting.value}"
        if setting.was and setting.was != today:
            old = obsolete(setting.was.partition("=")[0].strip())
            pairs.append((setting.was, f"{today}{f'   ({old.why})' if old else ''}"))
    width = max((len(old) for old, _ in pairs), default=0)
    return [f"{old:<{width}}  ->  {new}" for old, new in pairs]
