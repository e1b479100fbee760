"""Where tunings come from: the ones shipped with the lab, and any sysctl.d file on disk.

The built-in tunings are the `.conf` files beside this one, so that an engineer can read them, copy
them to /etc/sysctl.d, or start a tuning of their own from one. `recommended` has no file: it is
computed for the rate and the addresses that it is to serve, on the running kernel (lab/plan).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Final

from lab.capacity import KEYS, CapacityError, Kernel, Load, Settings, Situation, close_seen
from lab.capacity.situation import TRACKED_MOST
from lab.plan import Plan, make, sysctl_file
from lab.sysctl.reading import read
from lab.sysctl.tuning import Tuning, TuningError, combine, parse
from lab.testbed.base import SitePlan
from lab.testbed.behaviour import behaviour
from lab.testbed.fresh import fresh_values
from loadgen.config import LoadOptions
from loadgen.sample import BOX_ROLES, ROLE_CLIENT, ROLE_SERVER

_MOST_BYTES: Final = 1 << 20
"""A sysctl.d file is a few kilobytes; more is a log or a disk image."""

RECOMMENDED: Final = "recommended"
DEMAND: Final = Load(rate=20_000, tracked=True)
"""What `recommended` is computed for where nobody says."""
_KNOWN_ROLES: Final = (ROLE_CLIENT, *BOX_ROLES, ROLE_SERVER)
_ENDINGS: Final = (".conf", ".yml", ".yaml")
_FIRST: Final = ("kernel-default", "article-before", "article", RECOMMENDED)


def builtin_names() -> tuple[str, ...]:
    """Return the names of the built-in tunings, from the plainest to the best."""
    names = {
        entry.name.removesuffix(".conf")
        for entry in resources.files(__name__).iterdir()
        if entry.name.endswith(".conf")
    }
    names.add(RECOMMENDED)
    return tuple(sorted(names, key=lambda name: (*_rank(name), name)))


def _rank(name: str) -> tuple[int]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST),)


def load(name_or_path: str, demand: Load = DEMAND) -> Tuning:
    """Return the tuning of that name, or the one in that file.

    Args:
        name_or_path: a path when it has a `/` in it, or ends as a file of settings does; else a
            built-in's name.
        demand: what `recommended` is to serve; the others are what they are.

    Raises:
        TuningError: no such name or file, an unreadable file, or a line that cannot be parsed.
    """
    if "/" in name_or_path or name_or_path.endswith(_ENDINGS):
        return _from_file(name_or_path)
    names = builtin_names()
    if name_or_path not in names:
        close = difflib.get_close_matches(name_or_path, names, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        path = f"; a file in this directory is ./{name_or_path}" if name_or_path else ""
        raise TuningError(
            f"no tuning {name_or_path!r}: {guess}built-in are {', '.join(names)}{path}"
        )
    if name_or_path == RECOMMENDED:
        return recommended(demand)
    text = resources.files(__name__).joinpath(f"{name_or_path}.conf").read_text("utf-8")
    return parse(text, name=name_or_path, source="built-in")


def demand_of(load: LoadOptions, site: SitePlan) -> Load:
    """Return what `recommended` has to serve: a load at a site."""
    return replace(
        DEMAND,
        rate=load.rate if isinstance(load.rate, int | float) else DEMAND.rate,
        sources=site.source_addresses,
        destinations=site.servers,
        close=close_seen(load.close, site.server, tls=bool(site.certificate)),
        local_port_range=load.local_port_range,
    )


def load_for(text: str, roles: Sequence[str], demand: Load = DEMAND) -> Tuning:
    """Return the tuning that an arm's option means: one tuning, or one for each of several roles.

    Args:
        text: `NAME|FILE`, or `ROLE=NAME|FILE,ROLE=NAME|FILE`.
        roles: those that the site has.
        demand: what `recommended` is to serve.

    Raises:
        TuningError: as `load`, and for a role that the site does not have or that is given twice.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(equals and role.strip() in _KNOWN_ROLES for role, equals, _ in pairs):
        return load(text, demand)
    parts: dict[str, Tuning] = {}
    for role, _, name in ((role.strip(), equals, name) for role, equals, name in pairs):
        if role not in roles:
            raise TuningError(
                f"{text!r}: there is no {role} here, only {', '.join(roles)}; --topology gives a "
                "router, a nat or a proxy"
            )
        if role in parts:
            raise TuningError(f"{text!r}: {role} has a tuning already; give each role one file")
        parts[role] = load(name, demand)
    return combine(parts)


def recommended(demand: Load = DEMAND) -> Tuning:
    """Return the tuning that holds a load on this kernel, no line more than it takes.

    Raises:
        TuningError: when this kernel's own settings cannot be made sense of.
    """
    known, _ = fresh_values(KEYS)
    try:
        plan = plan_for(demand, known, tuning="kernel-default")
    except CapacityError as error:
        raise TuningError(f"cannot compute {RECOMMENDED}: {error}") from None
    return parse(sysctl_file(plan, RECOMMENDED), name=RECOMMENDED, source="built-in")


def plan_for(
    demand: Load, known: dict[str, str], *, tuning: str, release: str | None = None
) -> Plan:
    """Return the plan for a load.

    Args:
        demand: what is asked; `tracked` counts only where there is a conntrack table.
        known: the sysctls in force, by dotted key.
        tuning: the name of what is in force.
        release: of the kernel; None for this one.

    Raises:
        CapacityError: when a setting cannot be.
    """
    seen = behaviour() if release is None else None
    release = release or os.uname().release
    load = replace(demand, tracked=demand.tracked and TRACKED_MOST in known)
    situation = Situation(load=load, settings=Settings.of(known), kernel=Kernel.of(release, seen))
    return make(situation, known, tuning=tuning, kernel=release)


def _from_file(written: str) -> Tuning:
    try:
        path = Path(written).expanduser()
    except RuntimeError:
        raise TuningError(f"cannot read the tuning {written}: there is no such user") from None
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise TuningError(
            f"cannot read the tuning {written}: {error.strerror}; "
            f"give a sysctl.d file, or one of {', '.join(builtin_names())}"
        ) from None
    if len(content) > _MOST_BYTES:
        raise TuningError(f"{written} has more than 1 MiB; give a sysctl.d file")
    return read(content, name=path.name.removesuffix(".conf") or written, source=written)
