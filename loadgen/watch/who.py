"""Who uses what: ports, TIME_WAIT and tracked connections by destination, live sockets by process. Pure.

Sockets in TIME_WAIT belong to nobody any more, so that a process that opens ten thousand connections
a second and holds three at a time is hard to catch: its share is read off the live sockets of the
last `MEMORY` seconds' counts, and its rate is its share of each destination's.

The usual lifetime of a destination's connections is Little's law turned round: so many are alive at
once on average, so many are closed a second; their quotient is how long one lives.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from loadgen.sampling.census import Census, Held, LiveSocket
from loadgen.sampling.owners import Owner
from loadgen.sampling.sock_diag import Pool
from loadgen.sampling.tracked import Tracked
from loadgen.summary import Record
from loadgen.target import endpoint
from loadgen.watch.forecast import Rules, closing_rate, toll
from loadgen.watch.places import place

LISTED: Final = 10
"""Destinations, clients and owners that are listed; the rest is summed up."""
MEMORY: Final = 60.0
"""Seconds over which live sockets are remembered."""
_LOOKS: Final = 256
"""Looks that are remembered at most."""


class Destination(Record, frozen=True, kw_only=True):
    """Connections that this host opens toward one address and port, from one of its own."""

    source: str
    destination: str
    port: int
    held: int
    """Local ports in use, TIME_WAIT included."""
    live: int
    time_wait: int
    share: float | None
    """Of the ports that connect() draws from, that are in use."""
    rate: float | None
    """Connections a second; None when their closing leaves no trace on this host."""
    lifetime: float | None
    """Seconds that a connection lives, on average; None where none was seen alive."""
    reused: bool
    """Whether connect() takes ports out of TIME_WAIT toward it."""
    connect: float | None
    """Seconds of CPU that one connect() takes now."""
    slow_in: float | None
    """Seconds until searches are slow, 0 when they are; None when they will not be at this rate."""
    exhausted_in: float | None
    """Seconds until no port is left, 0 when none is; None when that will not be at this rate."""


class Client(Record, frozen=True, kw_only=True):
    """Connections that this host accepts from one address on one of its ports."""

    client: str
    address: str
    port: int
    live: int
    time_wait: int
    """Here, because this host closes first."""
    rate: float | None


class Entries(Record, frozen=True, kw_only=True):
    """Tracked connections from one address toward another's port."""

    source: str
    destination: str
    port: int
    entries: int
    """Of the kernel's count, by this one's share of the sample."""
    share: float
    """Of all tracked connections."""


class Holder(Record, frozen=True, kw_only=True):
    """A process, or as much of it as can be found out, and the connections that it opens."""

    process: str
    """Empty when it is not known."""
    pid: int | None
    container: str
    unit: str
    cgroup: str
    live: int
    """Sockets at the last count."""
    share: float
    """Of all live sockets seen within the last minute."""
    rate: float | None
    """Connections a second: its share of each destination's."""
    destinations: list[str]
    """The busiest three."""


class Who(Record, frozen=True, kw_only=True):
    """Who uses what, as last counted."""

    usable: int | None
    """Ports that connect() may use toward one destination."""
    quick: int | None
    """Of these, those that it finds without a detour."""
    slow_connect: float | None
    """Seconds of CPU of one connect() beyond them."""
    destinations: list[Destination]
    more_destinations: int
    """That are not listed."""
    more_held: int
    """Ports that these hold."""
    rate: float | None
    """Connections a second that were closed here, all destinations together."""
    clients: list[Client]
    time_wait: int
    """All sockets in TIME_WAIT that were counted."""
    tracked: list[Entries]
    tracked_read: int | None
    """Entries of the sample; None when the table cannot be read."""
    tracked_whole: bool
    """Whether these are all there are."""
    owners: list[Holder]
    seen: int
    """Live sockets seen within the last minute, on which the owners' shares rest."""


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def _left(seconds: float | None) -> float | None:
    """Return a time to tenths, but 0 only for what is 0: it says that the time has come."""
    return None if seconds is None else seconds and max(0.1, round(seconds, 1))


class Memory:
    """The live sockets that were seen within the last minute."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Counter[Pool], Counter[tuple[Pool, Owner]]]] = deque(
            maxlen=_LOOKS
        )

    def add(self, t: float, live: Sequence[LiveSocket], owners: Mapping[int, Owner]) -> None:
        """Take in one look at all live sockets; `owners` by their places in `live`.

        A socket that its program has closed, and that waits for the other side's FIN, still counts
        as alive, but is nobody's.
        """
        alive = Counter(item.pool for item in live)
        held = Counter((item.pool, owners[n]) for n, item in enumerate(live) if item.inode)
        self._looks.append((t, alive, held))
        while self._looks[0][0] < t - MEMORY:
            self._looks.popleft()

    def alive(self) -> dict[Pool, float]:
        """Return how many sockets of each pool are alive at once, on average."""
        found: Counter[Pool] = Counter()
        for _, alive, _ in self._looks:
            found.update(alive)
        return {pool: count / len(self._looks) for pool, count in found.items()}

    def seen(self) -> Counter[tuple[Pool, Owner]]:
        """Return how often each owner was seen with a socket of each pool."""
        found: Counter[tuple[Pool, Owner]] = Counter()
        for *_, held in self._looks:
            found.update(held)
        return found

    def latest(self) -> Counter[Owner]:
        """Return each owner's sockets at the last look."""
        found: Counter[Owner] = Counter()
        if self._looks:
            for (_, owner), count in self._looks[-1][2].items():
                found[owner] += count
        return found


def who(
    census: Census,
    memory: Memory,
    rules: Rules | None,
    tracked: Tracked | None,
    entries: int | None,
) -> Who:
    """Return who uses what.

    Args:
        census: the last count, which `memory` has taken in.
        memory: of the counts before.
        rules: of the namespace; None when its range of ports is not known.
        tracked: the last sample of the connection-tracking table.
        entries: the kernel's own count of what is in it.
    """
    alive = memory.alive()
    lines = {
        pool: _destination(pool, held, alive.get(pool, 0.0), rules)
        for pool, held in census.pools.items()
    }
    order = sorted(lines.values(), key=lambda line: (-line.held, line.destination, line.port))
    rates = {pool: line.rate for pool, line in lines.items()}
    total = sum(filter(None, rates.values())) + closing_rate(census.rest)
    slow = None
    if rules is not None:
        slow = rules.costs.connection + rules.costs.per_port * (
            rules.quick if rules.quick < rules.usable else 0
        )
    seen = memory.seen()
    return Who(
        usable=None if rules is None else rules.usable,
        quick=None if rules is None else rules.quick,
        slow_connect=slow,
        destinations=order[:LISTED],
        more_destinations=len(order[LISTED:]) + census.other_pools,
        more_held=sum(line.held for line in order[LISTED:]) + census.rest.all,
        rate=_rounded(total, 1),
        clients=_clients(census.accepted),
        time_wait=census.time_wait,
        tracked=[] if tracked is None else _tracked(tracked, entries),
        tracked_read=None if tracked is None else tracked.read,
        tracked_whole=tracked is not None and tracked.complete,
        owners=_owners(seen, memory.latest(), rates),
        seen=sum(seen.values()),
    )


def _destination(pool: Pool, held: Held, alive: float, rules: Rules | None) -> Destination:
    found = None if rules is None else toll(pool, held, rules)
    rate = found.rate if found is not None else (closing_rate(held) if held.waits else None)
    return Destination(
        source=pool.source,
        destination=pool.destination,
        port=pool.port,
        held=held.all,
        live=held.live,
        time_wait=held.time_wait,
        share=None if rules is None or not rules.usable else round(held.all / rules.usable, 4),
        rate=_rounded(rate, 1),
        lifetime=round(alive / rate, 6) if rate and alive else None,
        reused=rules is not None and rules.again(pool),
        connect=None if found is None else _rounded(found.connect, 7),
        slow_in=None if found is None else _left(found.slow_in),
        exhausted_in=None if found is None else _left(found.exhausted_in),
    )


def _clients(accepted: Mapping[Pool, Held]) -> list[Client]:
    found = sorted(accepted.items(), key=lambda item: (-item[1].all, str(item[0])))
    return [
        Client(
            client=pool.source,
            address=pool.destination,
            port=pool.port,
            live=held.live,
            time_wait=held.time_wait,
            rate=_rounded(closing_rate(held), 1) if held.waits else None,
        )
        for pool, held in found[:LISTED]
    ]


def _tracked(tracked: Tracked, entries: int | None) -> list[Entries]:
    """Return the largest groups, each with its share of the kernel's own count."""
    if not tracked.read:
        return []
    whole = tracked.read if tracked.complete or entries is None else entries
    found = sorted(tracked.pools.items(), key=lambda item: (-item[1], str(item[0])))
    return [
        Entries(
            source=pool.source,
            destination=pool.destination,
            port=pool.port,
            entries=round(whole * count / tracked.read),
            share=round(count / tracked.read, 4),
        )
        for pool, count in found[:LISTED]
    ]


def _owners(
    seen: Counter[tuple[Pool, Owner]], latest: Counter[Owner], rates: Mapping[Pool, float | None]
) -> list[Holder]:
    of_pool: Counter[Pool] = Counter()
    by_owner: dict[Owner, Counter[Pool]] = {}
    for (pool, owner), count in seen.items():
        of_pool[pool] += count
        by_owner.setdefault(owner, Counter())[pool] += count
    every = sum(of_pool.values())
    lines = [
        _holder(owner, pools, latest[owner], of_pool, every, rates)
        for owner, pools in by_owner.items()
    ]
    return sorted(lines, key=lambda line: (-(line.rate or 0), -line.share, line.process))[:LISTED]


def _holder(
    owner: Owner,
    pools: Counter[Pool],
    live: int,
    of_pool: Mapping[Pool, int],
    every: int,
    rates: Mapping[Pool, float | None],
) -> Holder:
    where = place(owner.cgroup)
    known = [
        (rate * count / of_pool[pool]) for pool, count in pools.items() if (rate := rates.get(pool))
    ]
    return Holder(
        process=owner.process,
        pid=owner.pid,
        container=where.container,
        unit=where.unit,
        cgroup=owner.cgroup,
        live=live,
        share=round(sum(pools.values()) / every, 4),
        rate=_rounded(sum(known), 1) if known else None,
        destinations=[endpoint(pool.destination, pool.port) for pool, _ in pools.most_common(3)],
    )


def endpoints(found: Who) -> Iterable[tuple[str, int]]:
    """Return the addresses and ports that are named in it, for whoever wants other names for them."""
    for line in found.destinations:
        yield line.source, 0
        yield line.destination, line.port
    for entry in found.tracked:
        yield entry.source, 0
        yield entry.destination, entry.port
    for client in found.clients:
        yield client.client, 0
        yield client.address, client.port
