"""From a recording of a host to the load that a plan is made for. Pure.

What was recorded is taken at its busiest: the highest rate over ten seconds, and the destinations of
that time. The model spreads a load evenly; a real one is not, and the busiest destination is the one
whose ports run out. So there are as many destinations as share the load at the busiest one's rate: of
60, 30 and 10 % that is one and two thirds, and counts as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lab.capacity import CapacityError, Load
from loadgen.config import CloseMode
from loadgen.watch.courses import Boiled
from loadgen.watch.who import Destination

_MOSTLY: Final = 0.5
"""Of all connections, that this host closed first, from which on it counts as the one that closes."""
_NEARLY: Final = 0.1
"""Of a destination, by which an even share may be missed: three at 36, 33 and 31 % are three."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording says of its host's load."""

    load: Load
    sysctls: dict[str, str]
    """In force at the end."""
    kernel: str
    notes: list[str]
    """Where the figures come from: one sentence each."""


def recorded(found: Boiled, *, rtt: float) -> Recorded:
    """Return the load that was recorded.

    Args:
        found: the recording.
        rtt: seconds there and back, which it does not tell.

    Raises:
        CapacityError: when no connection was opened in it.
    """
    head = found.head
    assert head is not None
    if found.opened is None or found.opened[0] <= 0:
        raise CapacityError("no connection was opened in this recording", "record a busier time")
    rate = round(max(found.opened[0], found.closed_here), 1)
    close, said = _close(found, rate)
    lines = _lines(found, close)
    sources, destinations = _pools(lines, close)
    lifetime = _lifetime(lines)
    tracked = found.courses.get("nf_conntrack_entries")
    load = Load(
        rate=rate,
        close=close,
        sources=sources,
        destinations=destinations,
        loopback=bool(lines) and all(line.destination.startswith("127.") for line in lines),
        rtt=rtt,
        service=max(0.0, round(lifetime - 2 * rtt, 6)) if lifetime is not None else 0.0001,
        tracked=tracked is not None and tracked.peak is not None and tracked.peak[0] > 0,
    )
    notes = [f"the rate is the highest over 10 s of the recording, {rate:,.0f}/s", said]
    if len(lines) > sources * destinations:
        notes.append(
            f"{len(lines)} destinations share the load unevenly: the busiest is planned for, as if "
            f"there were {sources * destinations}"
        )
    if lifetime is not None:
        notes.append(f"a connection lived for {lifetime * 1000:.3g} ms on average")
    return Recorded(load, head.sysctls, head.kernel, notes)


def _close(found: Boiled, rate: float) -> tuple[CloseMode, str]:
    share = min(1.0, found.closed_here / rate)
    if share >= _MOSTLY:
        return "client", f"this host closed {share:.0%} of its connections first"
    return "server", (
        f"this host closed {share:.0%} of its connections first: the servers close, or they end by RST"
    )


def _lines(found: Boiled, close: CloseMode) -> list[Destination]:
    """Return the destinations of the busiest time."""
    if found.busiest is not None:
        lines = [line for line in found.busiest.destinations if line.rate]
        if lines:
            return lines
    if close == "client":
        return []
    return [full for full, _ in found.destinations.values()]


def _pools(lines: Sequence[Destination], close: CloseMode) -> tuple[int, int]:
    """Return source addresses, and destinations of each, that share the load as its busiest pool does."""
    weights = (
        [line.rate or 0.0 for line in lines] if close == "client" else [line.held for line in lines]
    )
    most = max(weights, default=0)
    if not most:
        return 1, 1
    even = int(sum(weights) / most + _NEARLY)
    sources = len({line.source for line in lines})
    return (sources, even // sources) if sources <= even else (1, max(1, even))


def _lifetime(lines: Sequence[Destination]) -> float | None:
    """Return the seconds that a connection lived, on average over all of them."""
    known = [(line.rate, line.lifetime) for line in lines if line.rate and line.lifetime]
    total = sum(rate for rate, _ in known)
    return sum(rate * lifetime for rate, lifetime in known) / total if total else None
