"""What the Docker testbed tells its containers, and the names they agree on. Pure.

An order travels as JSON, in one argument of the container's command line. The image's label counts
the versions of this language, so that an image of another version is refused and not misunderstood.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

VERSION: Final = "3"
"""The Dockerfile's label `churnlab.image`."""
LABEL: Final = "churnlab.image"
VOLUME: Final = Path("/runs")
RUN: Final = VOLUME / "run"
"""The run directory of the trial."""

CONNTRACK_NOTE: Final = (
    "connection tracking: role client is the client container's own table, role host the table of "
    "the engine's host, which sees the bridged traffic too"
)


def watched(role: str) -> Path:
    """Return where the samples of a role's namespace go."""
    return VOLUME / f"{role}.jsonl"


def in_force(role: str) -> Path:
    """Return where the sysctls go that a role's container reads back, as a JSON object."""
    return VOLUME / f"{role}.sysctls"


class Serve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """To `server`."""

    server: str
    """As `SitePlan.server` has it."""

    certificate: str
    """As `SitePlan.certificate` has it."""
    watch: bool
    """Sample the kernel of this container, as role `server`."""
    threads: int
    connections: int
    """Most connections; 0 for as many as the limit on open files allows."""
    options: tuple[str, ...]
    """Further ones, as memcached's command line has them."""
    keys: tuple[str, ...]
    """Sysctls to read back, beside the catalogued ones."""


class LoadOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """To `load`."""

    sources: tuple[str, ...]
    """Addresses that the container has to take, beside the one it was given."""
    arguments: tuple[str, ...]
    """Of `loadgen run`."""
    keys: tuple[str, ...]
    """As for `Serve`."""


class Seen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `look`: what the container's namespace shows."""

    asked: list[str]
    """Keys that were to be looked at, beside the catalogued ones."""
    values: dict[str, str]
    """By dotted key; without those that do not exist."""
    writable: list[str]
    """Those that could be written, by the file's mode."""
    names: list[str]
    """Every dotted key of a network namespace that exists, without those of devices."""
    boot: str
    """The kernel's boot_id: the same one means the same machine."""
