"""What an experiment declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lab.claims.findings import Finding
from lab.testbed.ground import Ground

F = TypeVar("F", bound=Finding)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimExperiment(Generic[F]):
    """One measurement in namespaces of its own."""

    name: str
    finding: type[F]
    """What it measures; each type belongs to one experiment."""
    run: Callable[[Ground], F]
    """Blocks; sleeps only through `ground.sleep`, so that a cancelled run ends soon."""
    servers: int = 1
    """Addresses of the server's side."""
    memcached: bool = False
    """A real memcached listens at the first of them."""
    rtt: float = 0.0
    """Emulated round-trip time in seconds."""
    waits: bool = False
    """Spends its time asleep, so that it may run beside all others."""
    limit: float = 30.0
    """Seconds after which it is given up."""
