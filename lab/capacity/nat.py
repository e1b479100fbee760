"""The ports of a NAT: how many mappings a load needs toward one destination, and when none is left. Pure.

A NAT gives each connection a port of its own address; toward one destination address and port no two
connections may have the same (N1). The client's own port is kept where it is free; else the kernel
looks among 1024 to 65535, or among the ports that the rule names (`nf_nat_l4proto_unique_tuple` in
net/netfilter/nf_nat_core.c). It tries at most 128 ports in a row, then 64, 32 and 16 from other places:
in a pool of more than 128 ports single connections fail before the last port is taken.

How long a mapping keeps its port (N2) has changed. Older kernels keep it as long as the conntrack
entry lives: 120 s after the last FIN, 10 s after a RST. Since ~6.5 ("netfilter: snat: evict closing
tcp entries on reply tuple collision") the last of these tries evict an entry in TIME_WAIT or beyond, so
that a port is held by connections under way alone. Measured on 6.18: 8,000 connections in 2 s over
1,000 ports of one masquerading address, none lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lab.capacity.ports import Search
from lab.capacity.situation import Load, Settings
from loadgen.search import Kernel

TRIED = 128
"""Ports that are tried in a row: up to so many all of a pool are tried."""


@dataclass(frozen=True, slots=True)
class Mappings:
    """The mappings of a NAT that all connections of a load pass."""

    settings: Settings
    load: Load
    kernel: Kernel
    search: Search

    @property
    def ports(self) -> int:
        """N1. Ports of all pools together: one pool for each address of the NAT and destination."""
        low, high = self.load.nat_ports or (1024, 65_535)
        return (high - low + 1) * self.load.nat_addresses * self.load.destinations

    @property
    def hold(self) -> float:
        """N2. Seconds from a connection's start until its port of the NAT may be used again."""
        if self.kernel.nat_evicts:
            return self.load.lifetime
        reset = self.load.close == "rst"
        timer = self.settings.tracked_close if reset else self.settings.tracked_time_wait
        return self.load.lifetime + timer

    @property
    def needed(self) -> float:
        """Mappings in the long run: rate x hold, and never more than the clients have ports."""
        rate = min(self.load.rate, self.search.settled_rate)
        return min(rate * self.hold, self.search.pools.all_usable)

    @property
    def full_rate(self) -> float:
        """Connections per second above which mappings run out for good (N3); infinite if they cannot."""
        if not self.hold or self.search.pools.all_usable <= self.ports:
            return math.inf
        return self.ports / self.hold

    @property
    def full_after(self) -> float | None:
        """Connections until no mapping is left (N3); None when that never happens."""
        return None if self.needed <= self.ports else float(self.ports)

    @property
    def full_at(self) -> float | None:
        """Seconds until then."""
        after = self.full_after
        return None if after is None else self.search.time_of(after)
