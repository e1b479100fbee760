"""Connection tracking: how many entries a load keeps, what they weigh, when the table is full. Pure.

conntrack keeps an entry for each pair of address-and-port pairs that it saw, and its timers are its
own: 120 s after the last FIN, 10 s after a RST, whatever TIME_WAIT does (nf_conntrack-sysctl.rst;
measured: `TIME_WAIT 119`, `CLOSE 9`). A SYN with the addresses of an entry in TIME_WAIT replaces it
(`nf_conntrack_tcp_packet`; measured: 1,000 connections over 50 ports left 50 entries). So a load
never has more entries than distinct local ports, times addresses: one client and one server cannot
fill a default table, many of either can.

At a full table the packet is dropped. Closed connections are not evicted early, as they are
assured, so the next SYN that needs a new entry goes unanswered and its connect() times out.

The count is a namespace's; the limit and the hash table are the host's (measured on 6.18).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from lab.capacity.ports import Pools, Search, connections_for, distinct
from lab.capacity.situation import Load, Settings
from loadgen.search import TIME_WAIT

ENTRY_BYTES: Final = 256
"""C3. An entry (`nf_conntrack` in /proc/slabinfo, 6.18)."""
ACCOUNTING_BYTES: Final = 128
"""More with nf_conntrack_acct = 1: a kmalloc-128 for each entry's extension."""
BUCKET_BYTES: Final = 8
"""A bucket of the one hash table that all namespaces share."""


@dataclass(frozen=True, slots=True)
class TrackingTable:
    """The one table that sees all connections of a load."""

    settings: Settings
    load: Load
    search: Search

    @property
    def pools(self) -> Pools:
        """The local ports."""
        return self.search.pools

    @property
    def timeout(self) -> float:
        """Seconds that an entry stays after the connection's end."""
        reset = self.load.close == "rst"
        return self.settings.tracked_close if reset else self.settings.tracked_time_wait

    @property
    def tuples(self) -> int:
        """The most entries that the load's connections can have: the ports it comes to use.

        While the quick ports suffice, the others are never touched.
        """
        slow = self.search.slow_at is not None
        return self.pools.all_usable if slow else self.pools.all_quick

    @property
    def entries(self) -> float:
        """Entries in the long run, at most (C1): rate x the time each stays, or one for each port.

        Where ports come free at once, or after the reuse delay, some are used again meanwhile.
        """
        rate = min(self.load.rate, self.search.settled_rate)
        stay = self.load.lifetime + self.timeout
        if self.pools.hold < min(stay, TIME_WAIT):
            return distinct(rate * stay, self.tuples, skips=self.pools.skips)
        return min(rate * stay, self.tuples)

    @property
    def room(self) -> float:
        """Entries that the table has left when the load begins; infinite when it is not known."""
        most = self.settings.tracked_most
        return math.inf if most is None else max(0, most - self.load.tracked_before)

    @property
    def full_rate(self) -> float:
        """Connections per second above which the table stays full (C2).

        Infinite when the load has too few ports for that.
        """
        if self.room >= self.pools.all_usable:
            return math.inf
        if self.room >= self.pools.all_quick:
            # Only a load that has gone past the quick ports has so many.
            return max(self.room / (self.load.lifetime + self.timeout), self.pools.quick_rate)
        return self.room / (self.load.lifetime + self.timeout)

    @property
    def full_after(self) -> float | None:
        """Connections until the table is full (C2); None when it never is.

        While every port is held each connection is a new entry; where ports come free at once or
        after the reuse delay, the search meets used ones again and the table fills more slowly.
        """
        if self.entries <= self.room:
            return None
        first_laps = self.search.started(min(self.pools.hold, self.timeout))
        if self.room <= first_laps:
            return self.room
        return connections_for(self.room, self.tuples, skips=self.pools.skips)

    @property
    def full_at(self) -> float | None:
        """Seconds until the table is full; None when it never is."""
        after = self.full_after
        return None if after is None else self.search.time_of(after)

    @property
    def entry_bytes(self) -> int:
        """Memory of one entry."""
        return ENTRY_BYTES + (ACCOUNTING_BYTES if self.settings.accounting else 0)

    @property
    def table_bytes(self) -> int | None:
        """Memory of the hash table; None when its size is not known."""
        buckets = self.settings.tracked_buckets
        return None if buckets is None else buckets * BUCKET_BYTES
