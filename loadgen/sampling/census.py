"""Who holds local ports, and since when: the kernel's list of sockets, counted by what they have in common.

`count_pools` of `sock_diag` says how many ports of each pool are held. For a host that is looked
after, two more things in the same records are worth having, and cost no further request:

- A socket in TIME_WAIT says when it will end (`idiag_expires`, milliseconds; measured: as exact as
  the kernel's tick). TIME_WAIT lasts 60 s, so the number that has between 59 and 60 s left is the
  number of connections that this host closed in the last second, by destination, whatever became of
  older ones. And the number that will end within the next t seconds is how many ports come free.
- A live socket says which cgroup its process was in when it was made (INET_DIAG_CGROUP_ID, Linux
  5.8, always sent), which user it belongs to, and its inode, the number under /proc/PID/fd.

A socket in TIME_WAIT belongs to nobody any more: it has no process, user or cgroup.

Counting is done by the interpreter's own counter (`collections.Counter` over `struct.iter_unpack`),
never record by record in Python, except for live sockets. The time that is left goes into the key in
steps of 256 ms, so that there are not as many keys as sockets.

Connections are counted by what they have in common seen from here: those that this host opened by
source, destination and remote port (a pool), those that it accepted by local address and port and
the client's address.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from loadgen.sampling import sock_diag
from loadgen.sampling.sock_diag import (
    CONNECTED,
    HEADER,
    TIME_WAIT,
    DiagSocket,
    Endpoint,
    Listener,
    Pool,
    align,
    next_record,
)

POOLS: Final = 64
"""The fullest pools that keep their name; the rest is one number. A crawler has thousands."""
MOST_LIVE: Final = 20_000
"""Live sockets that are looked at one by one; beyond them only their number counts."""
_MOST_LISTENERS: Final = 16
"""Each is a step of the kernel's filter, which runs for every socket."""
STEP: Final = 0.256
"""Seconds: how finely the time that a socket has left in TIME_WAIT is told apart."""

_RECORD: Final = HEADER.size + 72
"""Bytes before the attributes."""
_STATE_AT: Final = HEADER.size + 1
_LIVE: Final = struct.Struct("=xB4x34s24xII")
"""State; remote port and both addresses; user and inode."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_CGROUP_ID: Final = 21
_CGROUP: Final = struct.Struct("=Q")
_SWAPPED: Final = sys.byteorder == "big"


@dataclass(frozen=True, slots=True)
class Held:
    """The sockets of one pool, or of one client at one listener."""

    live: int = 0
    """In any state but TIME_WAIT."""
    waits: tuple[tuple[float, int], ...] = ()
    """Sockets in TIME_WAIT by the seconds that they have left at most, the first to end first."""

    @property
    def time_wait(self) -> int:
        """Sockets in TIME_WAIT."""
        return sum(count for _, count in self.waits)

    @property
    def all(self) -> int:
        """Sockets in any state."""
        return self.live + self.time_wait

    def younger(self, age: float, lasts: float = 60.0) -> int:
        """Return how many went into TIME_WAIT within the last `age` seconds, to the nearest `STEP`."""
        return sum(count for left, count in self.waits if left > lasts - age + STEP / 2)


@dataclass(frozen=True, slots=True)
class LiveSocket:
    """One socket that a process may hold."""

    pool: Pool
    state: int
    uid: int
    inode: int
    """0 when no process holds it any more."""
    cgroup: int | None
    """Id of its cgroup in the unified hierarchy; None before Linux 5.8."""


@dataclass(frozen=True, slots=True)
class Census:
    """One count of a namespace's TCP sockets."""

    pools: Mapping[Pool, Held] = field(default_factory=dict)
    """Connections that this host opened: the fullest `POOLS`."""
    rest: Held = field(default_factory=Held)
    """All other pools together."""
    other_pools: int = 0
    """How many these are."""
    live: Sequence[LiveSocket] = ()
    """Live sockets of connections that this host opened, `MOST_LIVE` at most."""
    accepted: Mapping[Pool, Held] = field(default_factory=dict)
    """Connections that this host accepted, by client (`source`) and listener: the fullest `POOLS`."""
    accepted_rest: Held = field(default_factory=Held)

    @property
    def time_wait(self) -> int:
        """All sockets in TIME_WAIT that were counted."""
        groups = (*self.pools.values(), self.rest, *self.accepted.values(), self.accepted_rest)
        return sum(held.time_wait for held in groups)


class Tally:
    """Adds up the pieces of one dump.

    Args:
        accepted: count by local address and port and remote address, instead of by remote port.
    """

    def __init__(self, *, accepted: bool = False) -> None:
        self._accepted = accepted
        self._waiting: Counter[tuple[bytes, ...]] = Counter()
        self._live: Counter[bytes] = Counter()
        self._sockets: list[tuple[bytes, int, int, int, int | None]] = []

    def take(self, chunk: memoryview, sequence: int) -> bool:
        """Add one piece of a dump; return whether the dump is complete.

        Raises:
            DiagError: when the piece is damaged.
            OSError: when it is the kernel's refusal.
        """
        at, length = next_record(chunk, 0, sequence)
        while length > 0:
            if chunk[at + _STATE_AT] == TIME_WAIT and length % 8 == 0:
                run = _run(chunk, at, length)
                records = _layout(length, self._accepted).iter_unpack(chunk[at : at + run])
                self._waiting.update(records)
                at += run
            else:
                self._one(chunk, at, length)
                at += align(length)
            at, length = next_record(chunk, at, sequence)
        return length == -1

    def _one(self, chunk: memoryview, at: int, length: int) -> None:
        state, key, uid, inode = _LIVE.unpack_from(chunk, at + HEADER.size)
        if self._accepted:
            key = bytes(chunk[at + 20 : at + 22]) + key[2:]
            self._live[key] += 1
            return
        self._live[key] += 1
        if len(self._sockets) < MOST_LIVE:
            cgroup = _cgroup(chunk[at + _RECORD : at + length])
            self._sockets.append((key, state, uid, inode, cgroup))

    def held(self) -> dict[bytes, tuple[int, dict[float, int]]]:
        """Return by key the live sockets, and those in TIME_WAIT by the seconds they have left."""
        found: dict[bytes, tuple[int, dict[float, int]]] = {
            key: (count, {}) for key, count in self._live.items()
        }
        for (state, *place, left), count in self._waiting.items():
            key = b"".join(place)
            live, waits = found.get(key, (0, {}))
            if state[0] == TIME_WAIT:
                steps = int.from_bytes(left, sys.byteorder)
                seconds = round((steps + 1) * STEP, 3)
                waits[seconds] = waits.get(seconds, 0) + count
            else:  # FIN-WAIT-2, which the kernel keeps in the same small record
                live += count
            found[key] = live, waits
        return found

    def sockets(self) -> Iterator[LiveSocket]:
        """Return the live sockets one by one."""
        pools: dict[bytes, Pool] = {}
        for key, state, uid, inode, cgroup in self._sockets:
            pool = pools.get(key)
            if pool is None:
                pool = pools[key] = _pool(key)
            yield LiveSocket(pool, state, uid, inode, cgroup)


@cache
def _layout(length: int, accepted: bool) -> struct.Struct:  # noqa: FBT001 - a key of the cache
    """Return the layout of a record in TIME_WAIT: its state, what it is counted by, what it has left.

    From the record's beginning: state at 17, local port at 20, remote port at 22, both addresses from
    24 to 56, and at 68 the milliseconds that are left, of whose four bytes all but the least count.
    """
    place = "2s2x32s" if accepted else "2x34s"
    left = "3s1x" if _SWAPPED else "1x3s"
    return struct.Struct(f"=17x1s2x{place}12x{left}{length - 72}x")


def _run(chunk: memoryview, at: int, length: int) -> int:
    """Return the bytes of all records from `at` on that are of the same kind as the first.

    Length, type and flags are one number of eight bytes, sequence and port another. A column of
    them, a stride over the piece, is compared at once.
    """
    whole = (len(chunk) - at) // length * length
    eights = chunk[at : at + whole].cast("Q")
    step = length // 8
    run = whole // length
    for column in (eights[0::step].tolist(), eights[1::step].tolist()):
        if column.count(column[0]) != len(column):
            run = min(run, next(n for n, value in enumerate(column) if value != column[0]))
    return run * length


def _cgroup(attributes: memoryview) -> int | None:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        size, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if size < _ATTRIBUTE.size or at + size > len(attributes):
            return None
        if kind == _CGROUP_ID and size == _ATTRIBUTE.size + _CGROUP.size:
            found: int = _CGROUP.unpack_from(attributes, at + _ATTRIBUTE.size)[0]
            return found
        at += align(size)
    return None


def _pool(key: bytes) -> Pool:
    text = sock_diag.address_text
    return Pool(text(key[2:18]), text(key[18:34]), int.from_bytes(key[:2], "big"))


def _client(key: bytes) -> Pool:
    text = sock_diag.address_text
    return Pool(text(key[18:34]), text(key[2:18]), int.from_bytes(key[:2], "big"))


def _fullest(
    found: Mapping[bytes, tuple[int, Mapping[float, int]]], *, accepted: bool
) -> tuple[dict[Pool, Held], Held, int]:
    """Return the fullest groups by name, the rest together, and how many the rest are."""
    size = {key: live + sum(waits.values()) for key, (live, waits) in found.items()}
    order = sorted(size, key=size.__getitem__, reverse=True)
    named: dict[Pool, Held] = {}
    for key in order[:POOLS]:
        live, waits = found[key]
        name = _client(key) if accepted else _pool(key)
        known = named.get(name, Held())  # an IPv4 address in an IPv6 socket is the same pool
        named[name] = Held(known.live + live, _merged(known.waits, waits.items()))
    live, merged = 0, Counter[float]()
    for key in order[POOLS:]:
        live += found[key][0]
        merged.update(found[key][1])
    return named, Held(live, tuple(sorted(merged.items()))), max(0, len(order) - POOLS)


def _merged(
    some: Iterable[tuple[float, int]], more: Iterable[tuple[float, int]]
) -> tuple[tuple[float, int], ...]:
    both = Counter(dict(some))
    both.update(dict(more))
    return tuple(sorted(both.items()))


def take_census(
    diag: DiagSocket, ports: tuple[int, int], targets: Sequence[Endpoint] = ()
) -> Census:
    """Count the TCP sockets of a namespace.

    A connection is taken for one that this host accepted when a socket listens on its local port,
    and else for one that it opened from `ports`. What is neither, such as a connection whose program
    chose a port of its own outside the range, is not counted.

    Args:
        diag: opened in that namespace.
        ports: first and last of the range that connect() draws from.
        targets: count only connections opened toward these; empty for all.

    Raises:
        DiagError: when an answer is damaged.
        OSError: when the kernel refuses.
    """
    listening = _listening(diag.listeners())
    opened = Tally()
    program = _opened(ports, targets, listening)
    diag.dump(lambda number: sock_diag.request(CONNECTED, program, number), opened.take)
    pools, rest, more = _fullest(opened.held(), accepted=False)
    accepted: dict[Pool, Held] = {}
    accepted_rest = Held()
    if listening:
        served = Tally(accepted=True)
        choice = sock_diag.program((), [sock_diag.local_port(port) for port in listening])
        diag.dump(lambda number: sock_diag.request(CONNECTED, choice, number), served.take)
        accepted, accepted_rest, _ = _fullest(served.held(), accepted=True)
    return Census(pools, rest, more, tuple(opened.sockets()), accepted, accepted_rest)


def look(
    diag: DiagSocket, ports: tuple[int, int], targets: Sequence[Endpoint] = ()
) -> tuple[LiveSocket, ...]:
    """Return the live sockets that `take_census` would see, and leave those in TIME_WAIT alone.

    The kernel passes over these at a quarter of the cost of a record.
    """
    found = Tally()
    program = _opened(ports, targets, _listening(diag.listeners()))
    states = CONNECTED & ~(1 << TIME_WAIT)
    diag.dump(lambda number: sock_diag.request(states, program, number), found.take)
    return tuple(found.sockets())


def _opened(ports: tuple[int, int], targets: Sequence[Endpoint], listening: Sequence[int]) -> bytes:
    """Return the filter that passes connections opened from `ports` toward `targets`, or anywhere."""
    return sock_diag.program(
        sock_diag.port_bounds(*ports),
        [sock_diag.destination(*target) for target in targets],
        [sock_diag.local_port(port) for port in listening if ports[0] <= port <= ports[1]],
    )


def _listening(listeners: Iterable[Listener]) -> list[int]:
    """Return the ports listened on, the busiest first, as many as a filter should have."""
    queue: dict[int, int] = {}
    for item in listeners:
        queue[item.port] = max(queue.get(item.port, 0), item.queue)
    return sorted(queue, key=lambda port: (-queue[port], port))[:_MOST_LISTENERS]
