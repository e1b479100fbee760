"""Which container and which systemd unit a cgroup is, by its path. Pure.

Container engines put a container's processes into a cgroup that carries its id, 64 hexadecimal
digits: Docker, containerd, CRI-O and Podman alike, under systemd as a scope (`docker-ID.scope`),
else as a folder (`/docker/ID`). LXC's carries its name. A unit's cgroup has the unit's name
(systemd.resource-control(5)); the innermost service or scope is the one that people mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SHOWN: Final = 12
"""Digits of a container's id that its engine shows."""
_ID: Final = re.compile(r"(?:^|[-/:])([0-9a-f]{64})(?:\.scope)?(?=$|/)")
_LXC: Final = re.compile(r"(?:^|/)lxc(?:\.payload\.|/)([^/]+)")
_UNIT: Final = re.compile(r"(?:^|/)([^/]+\.(?:service|scope))(?=$|/)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs."""

    container: str = ""
    """The first digits of its id, or its name; empty when it is in none."""
    unit: str = ""
    """Empty when it is in none, or when the unit is but the container's own."""


def place(cgroup: str) -> Place:
    """Return the container and the unit of a cgroup, a path such as `/system.slice/cron.service`."""
    ids, names = _ID.findall(cgroup), _LXC.findall(cgroup)
    units = [unit for unit in _UNIT.findall(cgroup) if not _ID.search(unit)]
    container = ids[-1][:SHOWN] if ids else (names[-1] if names else "")
    return Place(container, units[-1] if units else "")
