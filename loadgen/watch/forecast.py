"""What one connect() costs now, and when it will be slow or fail, destination by destination. Pure.

`loadgen.search` knows what a search costs when so many ports are held. How many will be held in t
seconds follows, at a steady rate, from what the census says of the sockets in TIME_WAIT: each tells
when it ends. So

    held(t) = held now + rate x t - those that end within t

up to 60 s; from there on each new one is balanced by one that ends, and held stays at
live + rate x 60. Where ports are taken out of TIME_WAIT (tcp_tw_reuse), those older than the delay
count as free, and nothing grows after that delay.

The rate is that of closing, read off the same sockets: what has between 58 and 60 s left was closed
in the last 2 s. A pool whose connections the server closes, or that end by RST, has no TIME_WAIT
here, holds its ports no longer than they live, and is given no rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from loadgen.sampling.census import STEP, Held
from loadgen.sampling.sock_diag import Pool
from loadgen.search import (
    TIME_WAIT,
    CapacityError,
    Costs,
    Kernel,
    port_spans,
    search_seconds,
    takes_again,
    usable_and_quick,
)
from loadgen.target import is_loopback

_ENOUGH: Final = 400
"""Connections by which a rate is known to 5 %, if they come at random."""
_BEGUN: Final = 50
"""Connections from which on a pool's first one is taken for the beginning of its load."""
_WINDOWS: Final = (2.0, 5.0, 10.0, 30.0)
"""Seconds over which a rate may be taken; the shortest with `_ENOUGH` connections, else the last."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides a search in one namespace."""

    usable: int
    """Ports that connect() may use toward one destination."""
    quick: int
    """Of these, those that it finds without the detour."""
    reuse: int = 2
    timestamps: bool = True
    delay: float = 1.0
    """Seconds in TIME_WAIT after which a port is taken again, where `again` says so."""
    costs: Costs = field(default_factory=Costs)

    def again(self, pool: Pool) -> bool:
        """Return whether connect() toward this destination takes ports out of TIME_WAIT."""
        loopback = is_loopback(pool.destination)
        return takes_again(self.reuse, timestamps=self.timestamps, loopback=loopback)


def rules(sysctls: Mapping[str, str], release: str) -> Rules | None:
    """Return the rules of a namespace; None when its range of ports is not known.

    Args:
        sysctls: in force there, by dotted key.
        release: of the kernel; one that says nothing counts as a recent one.
    """
    try:
        kernel = Kernel.of(release)
    except CapacityError:
        kernel = Kernel()
    try:
        low, high = map(int, sysctls["net.ipv4.ip_local_port_range"].split())
        reserved = port_spans(sysctls.get("net.ipv4.ip_local_reserved_ports", ""))
        usable, quick = usable_and_quick(low, high, reserved, parity_first=kernel.parity_first)
        return Rules(
            usable,
            quick,
            int(sysctls.get("net.ipv4.tcp_tw_reuse", "0")),
            timestamps=sysctls.get("net.ipv4.tcp_timestamps") != "0",
            delay=int(sysctls.get("net.ipv4.tcp_tw_reuse_delay", "1000")) / 1000,
        )
    except (KeyError, ValueError):
        return None


def closing_rate(held: Held, longest: float = math.inf) -> float:
    """Return how many connections a second went into TIME_WAIT lately.

    Args:
        held: the sockets.
        longest: seconds of TIME_WAIT after which a port may have been taken again, and the socket
            be gone before its time.
    """
    rate = 0.0
    oldest = _age(held)
    for window in _WINDOWS:
        # Whole steps only: from the first that lies in the window to the end of TIME_WAIT.
        first = math.ceil((TIME_WAIT - min(window, longest)) / STEP - 1e-6)
        width = TIME_WAIT - first * STEP
        count = sum(count for left, count in held.waits if left > first * STEP + STEP / 2)
        if oldest < width and count >= _BEGUN:
            width = oldest  # it began within the window
        if width > 0:
            rate = count / width
        if count >= _ENOUGH or window >= longest:
            break
    return rate


def _age(held: Held) -> float:
    """Return how long ago the first of the sockets in TIME_WAIT got there, in seconds.

    Its step of time began filling somewhere: the next one's number tells where, if the rate is steady.
    """
    if len(held.waits) < 2:
        return STEP
    (first, count), (_, full) = held.waits[:2]
    return max(STEP, TIME_WAIT - first + STEP * min(1.0, count / full))


@dataclass(frozen=True, slots=True)
class Toll:
    """What the next connect() toward one destination takes, and what it comes to."""

    held: int
    """Ports that cannot be taken now."""
    rate: float | None
    """Connections a second, taken as steady; None when their closing leaves no trace here."""
    connect: float
    """Seconds of CPU of one connect() now."""
    slow: float
    """Seconds of CPU of one connect() beyond the quick ports."""
    slow_in: float | None
    """Seconds until searches are slow; 0 when they are, None when they will not be at this rate."""
    exhausted_in: float | None
    """Seconds until connect() fails for want of a port; 0 when it does, None when it will not."""


def toll(pool: Pool, held: Held, found: Rules) -> Toll:
    """Return what connect() costs toward one destination, and when that changes."""
    again = found.again(pool)
    rate = closing_rate(held, found.delay if again else math.inf)
    taken = held.live + held.younger(found.delay) if again else held.all
    quick = min(found.quick, found.usable)
    slow = search_seconds(quick, found.usable, found.quick, found.costs)
    now = search_seconds(taken, found.usable, found.quick, found.costs)
    if again:
        # Nothing grows beyond what one delay brings.
        lasting = held.live + rate * found.delay
        slow_in = 0.0 if max(lasting, taken) >= quick else None
        exhausted_in = 0.0 if taken >= found.usable else None
    else:
        slow_in = _reached(held, rate, quick)
        exhausted_in = _reached(held, rate, found.usable, quick, 1 / slow)
    if found.quick >= found.usable:
        slow_in = None
    return Toll(
        held=taken,
        rate=rate if held.waits else None,
        connect=now,
        slow=slow,
        slow_in=slow_in,
        exhausted_in=exhausted_in,
    )


def _reached(
    held: Held, rate: float, goal: int, knee: float = math.inf, slow_rate: float = math.inf
) -> float | None:
    """Return in how many seconds so many ports are held; None when that never happens.

    Args:
        held: the sockets now.
        rate: connections a second.
        goal: ports.
        knee: ports from which on searches are slow.
        slow_rate: connections a second that slow searches allow.
    """
    at, count = 0.0, float(held.all)
    if count >= goal:
        return 0.0
    # What there is ends in steps; after the last, what has come since begins to end.
    for end, ended in (*held.waits, (TIME_WAIT, 0)):
        end = min(end, TIME_WAIT)  # noqa: PLW2901 - the last step reaches beyond it
        while at < end:
            quick = count < knee
            speed = rate if quick else min(rate, slow_rate)
            if speed <= 0:
                at = end
                break
            wall = min(goal, knee) if quick else goal
            reached = at + (wall - count) / speed
            if reached > end:
                count += speed * (end - at)
                at = end
            else:
                at, count = reached, float(wall)
                if wall == goal:
                    return at
        count -= ended
    return None
