"""Local ports: how many a connect() can find, how fast, and when they run out. Pure.

docs/capacity.md has each formula under the label that stands beside it here, with its source and
how well it was measured.

A connection is its four-tuple. Toward one destination address and port, from one source address,
only the local port is free to vary, so each such triple is a *pool* of its own (ip(7); measured:
100 ports gave 100 connections to each of three ports of one server). A port of a pool is *held*
while its connection lives and, on the side that closed first, for as long as TIME_WAIT forbids its
reuse.

The search itself is described in `loadgen.search`. Half a range is found quickly; beyond these quick
ports each connect() takes a millisecond or three of CPU in a default range, and the rate falls to a
few hundred a second without any error. Measured, default range, plain connect: 14,116 connections at
the asked rate, then 250 to 770 a second; EADDRNOTAVAIL after 28,232.

Two things move this. A socket with IP_LOCAL_PORT_RANGE is served in order (6.8), so all its ports
are quick. And a pool of few ports is searched so fast that nobody notices: with 1,000 ports the vain
half costs 45 µs, as much as the rest of the connection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from lab.capacity.situation import Load, Settings, Situation
from loadgen.search import TIME_WAIT, search_seconds, takes_again, usable_and_quick

_NEW_PER_LAP: Final = 1.13
"""See `distinct`."""


def distinct(connections: float, ports: float, *, skips: bool = True) -> float:
    """Return how many different ports a number of connections used, of those free at once (T1).

    A search begins where the last one ended plus 1 to 8 ports of its kind, 4.5 on average (since
    ~5.18, "tcp: add small random increments to the source port"), so that one lap over the ports
    takes each with probability 1/4.5. After L laps, 1 - (1 - 1/4.5)^L of them have been used; with
    L = 4.5 connections / ports this is 1 - exp(-1.13 connections / ports). Measured: 470 of 500
    after 1,000 connections, where it says 448; 12,712 of 30,000 after 14,700, where it says 12,750.
    The first lap takes no port twice.

    Args:
        connections: how many.
        ports: that they may take.
        skips: False for older kernels, which take one port after the other.
    """
    if not ports:
        return 0.0
    if not skips:
        return min(connections, ports)
    return min(connections, ports * -math.expm1(-_NEW_PER_LAP * connections / ports))


def connections_for(entries: float, ports: float, *, skips: bool = True) -> float:
    """Return after how many connections so many ports were used; the inverse of `distinct`."""
    if entries >= ports:
        return math.inf
    if not skips:
        return entries
    return max(entries, -ports / _NEW_PER_LAP * math.log1p(-entries / ports))


@dataclass(frozen=True, slots=True)
class Pools:
    """The local ports of all pools together, and how long each is held."""

    count: int
    """P1. Source addresses x destination pairs; bind() before connect() knows no destination yet, so
    there all destinations of a source address share one pool."""
    usable: int
    """P2. Ports of one pool."""
    quick: int
    """P3. Of these, those that a connect() finds without the detour."""
    hold: float
    """P4. Seconds from a connection's start until its port is free again."""
    skips: bool = True
    """Whether a search leaves a few ports out at random, see `Kernel`."""

    @property
    def all_usable(self) -> int:
        """Ports of all pools."""
        return self.count * self.usable

    @property
    def all_quick(self) -> int:
        """Quick ports of all pools."""
        return self.count * self.quick

    @property
    def quick_rate(self) -> float:
        """Connections per second that quick ports carry indefinitely (P5): ports over the time each is held.

        Queueing theory calls it Little's law: held ports = rate x hold.
        """
        return self.all_quick / self.hold if self.hold else math.inf

    @property
    def wall_rate(self) -> float:
        """Connections per second above which there is no free port left at all (P5)."""
        return self.all_usable / self.hold if self.hold else math.inf


def chosen_range(situation: Situation) -> tuple[int, int]:
    """Return first and last port that connect() chooses from.

    A bound of IP_LOCAL_PORT_RANGE counts only if it lies inside the sysctl's range; one outside is
    ignored (`inet_sk_get_local_port_range`; measured: 20000-20010 gave port 59881).
    """
    low, high = situation.settings.ports
    wanted = situation.load.local_port_range
    if wanted is None or not situation.kernel.socket_range:
        return low, high
    first = wanted[0] if low <= wanted[0] <= high else low
    last = wanted[1] if low <= wanted[1] <= high else high
    return first, last


def reuses(settings: Settings, load: Load) -> bool:
    """Return whether connect() takes ports out of TIME_WAIT, see `loadgen.search.takes_again`."""
    return takes_again(
        settings.reuse,
        timestamps=settings.timestamps,
        loopback=load.loopback,
        bound=load.bind_early,
    )


def hold(settings: Settings, load: Load) -> float:
    """Return how long a connection holds its local port, in seconds (P4).

    Its own life; then, only when the client closed first (RFC 9293, 3.6), the 60 s of TIME_WAIT, or
    tcp_tw_reuse_delay where ports are reused. When the server closes first TIME_WAIT is the
    server's, and after a RST nobody has it.
    """
    if load.close != "client":
        return load.lifetime
    return load.lifetime + (settings.reuse_delay if reuses(settings, load) else TIME_WAIT)


def pools(situation: Situation) -> Pools:
    """Return the pools of a situation (P1 to P4)."""
    settings, load, kernel = situation.settings, situation.load, situation.kernel
    in_order = load.local_port_range is not None and kernel.socket_range_in_order
    usable, quick = usable_and_quick(
        *chosen_range(situation),
        settings.reserved,
        parity_first=kernel.parity_first and not in_order,
        bound=load.bind_early,
    )
    count = load.sources * (1 if load.bind_early else load.destinations)
    return Pools(
        count=count, usable=usable, quick=quick, hold=hold(settings, load), skips=kernel.skips
    )


@dataclass(frozen=True, slots=True)
class Search:
    """What the search for a port does to a load, all pools together. Rates are per second."""

    pools: Pools
    load: Load

    @property
    def slow_connect(self) -> float:
        """Seconds that one connect() takes once the quick ports are gone (P6)."""
        pools = self.pools
        return search_seconds(pools.quick, pools.usable, pools.quick, self.load.costs)

    @property
    def slow_rate(self) -> float:
        """Connections per second when every connect() is a slow one (P6)."""
        return 1 / self.slow_connect

    @property
    def settled_rate(self) -> float:
        """Connections per second that an overload settles at (P7).

        The quick ports that come free carry `quick_rate`; what is left of the thread's time goes
        into slow searches. Measured with reuse and the default range at 20,000/s asked: 14,000 to
        14,200, where the quick ports alone give 14,116. Whether the machine can do so much at all
        is not asked here.
        """
        quick, costs = self.pools.quick_rate, self.load.costs
        left = max(0.0, 1.0 - quick * costs.connection)
        return min(self.pools.wall_rate, quick + left / self.slow_connect)

    def sustained(self, horizon: float | None) -> float:
        """Return the highest rate that loses nothing within `horizon` seconds of an idle start (P9).

        Three bounds. Up to the quick ports' rate there is no slow search. Above it a slow search
        throttles the client from the moment the quick ports are used up until the first of them is
        free again, and the arrivals that pile up meanwhile must stay within the tolerance:

            (window - Q/R) (R - k) / R <= tolerance      Q quick ports, R rate, k slow rate

        Later it must keep up with `settled_rate`. And no search finds more ports than there are.

        A load that ends sooner than the first port is free has its backlog still to serve, at the
        slow rate: the window is then (D - Q/R) R/k, for D seconds.
        """
        pools = self.pools
        window = pools.hold if horizon is None else min(pools.hold, horizon)
        quick = pools.all_quick / window if window else math.inf
        wall = pools.all_usable / window if window else math.inf
        steady = self.settled_rate if horizon is None or horizon > pools.hold else math.inf
        return max(quick, min(wall, self._throttled(horizon), steady))

    def _throttled(self, horizon: float | None) -> float:
        """Solve the inequality above for the greatest rate."""
        pools, slow, tolerance = self.pools, self.slow_rate, self.load.tolerance
        if pools.quick >= pools.usable:
            return math.inf

        def root(a: float, b: float) -> float:
            # a R² - b R + Q k = 0
            return (b + math.sqrt(max(0.0, b * b - 4 * a * pools.all_quick * slow))) / (2 * a)

        rest = pools.hold - tolerance
        if rest <= 0:
            return math.inf
        found = root(rest, pools.hold * slow + pools.all_quick)
        if horizon is None or horizon >= pools.hold:
            return found
        return max(found, root(horizon, (horizon + tolerance) * slow + pools.all_quick))

    @property
    def slow_at(self) -> float | None:
        """Seconds until the quick ports are used up (P8); None when that never happens."""
        rate = self.load.rate
        if self.pools.quick >= self.pools.usable or rate <= self.pools.quick_rate:
            return None
        return self.pools.all_quick / rate

    @property
    def late_at(self) -> float | None:
        """Seconds until arrivals are later than the tolerance for slow searches (P8), or None."""
        start, rate = self.slow_at, self.load.rate
        if start is None or rate <= self.slow_rate:
            return None
        if self.load.duration is not None and self.load.duration <= start:
            return None
        window = self.pools.hold - start
        growth = (rate - self.slow_rate) / rate
        if self.load.duration is not None:
            backlog = (self.load.duration - start) * rate / self.slow_rate
            if growth * backlog < self.load.tolerance:
                return None
        if growth * window >= self.load.tolerance:
            return start + self.load.tolerance / growth
        if rate <= self.settled_rate:
            return None
        rest = self.load.tolerance - growth * window
        return self.pools.hold + rest * rate / (rate - self.settled_rate)

    @property
    def exhausted_at(self) -> float | None:
        """Seconds until connect() or bind() finds no port at all (P8); None when that never happens.

        Past the quick ports the rate is at most the slow one; when the first ports are free again
        before the last is used, the wall is never reached.
        """
        pools, rate = self.pools, self.load.rate
        if rate <= pools.wall_rate:
            return None
        start = pools.all_quick / rate
        at = start + (pools.all_usable - pools.all_quick) / min(rate, self.slow_rate)
        return at if at <= pools.hold else None

    def started(self, t: float) -> float:
        """Return how many connections were started `t` seconds after an idle start."""
        start = self.slow_at
        if start is None or t <= start:
            return self.load.rate * t
        slow = min(self.load.rate, self.slow_rate)
        if t <= self.pools.hold:
            return self.pools.all_quick + slow * (t - start)
        settled = min(self.load.rate, self.settled_rate)
        return self.started(self.pools.hold) + settled * (t - self.pools.hold)

    def time_of(self, connections: float) -> float:
        """Return when so many connections were started, in seconds; the inverse of `started`."""
        pools, rate = self.pools, self.load.rate
        start = self.slow_at
        if start is None or connections <= pools.all_quick:
            return connections / rate
        slow = min(rate, self.slow_rate)
        by_then = self.started(pools.hold)
        if connections <= by_then:
            return start + (connections - pools.all_quick) / slow
        return pools.hold + (connections - by_then) / min(rate, self.settled_rate)
