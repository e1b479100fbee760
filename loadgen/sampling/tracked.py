"""What is in the connection-tracking table: NETLINK_NETFILTER, a part of it at a time.

/proc says how many entries there are and not whose. The kernel lists them for who asks by netlink
(IPCTNL_MSG_CT_GET, <linux/netfilter/nfnetlink_conntrack.h>; it wants CAP_NET_ADMIN in the
namespace), at 2 µs an entry, measured on 6.18: half a second for 250,000, which no host that is only
looked after should pay every second.

But the kernel walks its hash table from the first bucket on, and which bucket an entry is in follows
from a keyed hash of its addresses and ports (`hash_conntrack_raw`, siphash). So the first few
thousand entries of a walk are a fair sample of all, whoever made them; and the kernel walks no
further than the reader reads. A `Walk` goes on where the last reading left off, so that with time it
has seen everything, at whatever pace its cost allows. Shares come from the sample, sums from the
kernel's own count: with n entries read, a share p is right to sqrt(p(1-p)/n), 0.3 % for a third of
25,000.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from loadgen.sampling.files import within
from loadgen.sampling.namespace import NamespaceError
from loadgen.sampling.pace import Backoff, Pace
from loadgen.sampling.sock_diag import HEADER, Pool, align

_NETLINK_NETFILTER: Final = 12
_CT_GET: Final = 0x0101
_REQUEST_DUMP: Final = 0x301
_ERROR, _DONE = 2, 3
_BUFFER: Final = 1 << 16
_ANSWER_TIMEOUT: Final = 2

_WHOLE, _PART = 0.08, 0.004
"""Seconds of CPU: enough for a sample of `ENTRIES`, and what one reading adds to it."""
ENTRIES: Final = 25_000
"""Entries of the sample: the last that were read."""
_EVERY: Final = 16
"""Pieces between two looks at the clock: 16 x 130 entries x 2 µs is 4 ms at most."""

_LAYOUTS: Final = 256
"""Layouts of a message that are remembered; there are a few."""
_ORIG, _PROTOINFO = 1, 4
_NESTED: Final = 0x3FFF
"""Mask of an attribute's type: the upper bits say nested and byte order."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERRNO: Final = struct.Struct("=i")
TCP: Final = 6
STATES: Final = (
    "none", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack",
    "time_wait", "close", "syn_sent2",
)  # fmt: skip
"""enum tcp_conntrack in <linux/netfilter/nf_conntrack_tcp.h>."""


class TrackedError(ValueError):
    """An answer that is not the list of entries it should be."""


Entry = tuple[bytes, bytes, int, int]
"""Source and destination address, destination port, state, of a TCP connection."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A sample of a namespace's connection-tracking table."""

    read: int
    """Entries in the sample, of any protocol."""
    complete: bool
    """Whether these are all there were."""
    tcp: int = 0
    """Of these, TCP connections."""
    pools: dict[Pool, int] = field(default_factory=dict)
    """TCP connections by who opened them to whom, in the sample."""
    states: dict[str, int] = field(default_factory=dict)
    """TCP connections by conntrack's own state."""


def _attributes(data: memoryview) -> dict[int, memoryview]:
    """Return attributes by type.

    Raises:
        TrackedError: when one does not fit.
    """
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size or at + size > len(data):
            raise TrackedError("conntrack: an attribute that does not fit its message")
        found[kind & _NESTED] = data[at + _ATTRIBUTE.size : at + size]
        at += align(size)
    return found


def parse_entry(message: memoryview) -> Entry | None:
    """Return the TCP connection of one message; None for another protocol.

    Raises:
        TrackedError: when the message is damaged.
    """
    top = _attributes(message[HEADER.size + 4 :])
    if _ORIG not in top:
        raise TrackedError("conntrack: an entry without addresses")
    parts = _attributes(top[_ORIG])
    address, proto = _attributes(parts.get(1, _NOTHING)), _attributes(parts.get(2, _NOTHING))
    number, port = proto.get(1), proto.get(3)
    if number is None or number[0] != TCP or port is None:
        return None
    ends = [
        bytes(address[kind]) for kind in ((1, 2) if 1 in address else (3, 4)) if kind in address
    ]
    if len(ends) != 2 or len(ends[0]) not in {4, 16} or len(port) != 2:
        raise TrackedError("conntrack: an entry without addresses")
    tcp = _attributes(_attributes(top.get(_PROTOINFO, _NOTHING)).get(1, _NOTHING))
    state = tcp[1][0] if 1 in tcp and len(tcp[1]) else 0
    return ends[0], ends[1], int.from_bytes(port, "big"), state


_NOTHING: Final = memoryview(b"")
# A TCP connection over IPv4, as 6.18 writes it: family at 16, the first attribute's header at 20,
# source at 32, destination at 40, protocol at 52, destination port at 68. Its state stands behind
# attributes of which there are more or fewer; its place is found once for each length.
_SHORT: Final = struct.Struct("=16xB3x8s4x4s4x4s8xB15x2s")
_SHORT_HEAD: Final = bytes.fromhex("3400018014000180")


class Pieces:
    """Takes the kernel's answer apart, entry by entry, and remembers what one looks like."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, bytes], int] = {}
        """Where the state stands in messages of a length that begin alike; 0 for others."""

    def take(self, chunk: memoryview, found: list[Entry | None]) -> bool:
        """Append the entries of one piece, None for what is not TCP; return whether it is the last.

        Raises:
            TrackedError: when the piece is damaged.
            OSError: when it is the kernel's refusal.
        """
        at, end = 0, len(chunk)
        while at < end:
            if end - at < HEADER.size:
                raise TrackedError("conntrack: a message shorter than its header")
            length, kind, *_ = HEADER.unpack_from(chunk, at)
            if length < HEADER.size + 4 or length > end - at:
                raise TrackedError(
                    f"conntrack: a message of {length} bytes where {end - at} are left"
                )
            if kind in {_DONE, _ERROR}:
                error = -_ERRNO.unpack_from(chunk, at + HEADER.size)[0] if length >= 20 else 0
                if error > 0:
                    raise OSError(error, os.strerror(error))
                return True
            found.append(self._entry(chunk[at : at + length]))
            at += align(length)
        return False

    def _entry(self, message: memoryview) -> Entry | None:
        if len(message) >= _SHORT.size:
            family, head, source, destination, proto, port = _SHORT.unpack_from(message)
            if family == socket.AF_INET and head == _SHORT_HEAD and proto == TCP:
                key = len(message), bytes(message[124:136])
                place = self._places.get(key)
                if place is None:
                    if len(self._places) >= _LAYOUTS:
                        self._places.clear()
                    place = self._places[key] = _state_at(message)
                if place:
                    return source, destination, int.from_bytes(port, "big"), message[place]
        return parse_entry(message)


def _state_at(message: memoryview) -> int:
    """Return where the state of a TCP connection stands in a message; 0 when it has none."""
    at = HEADER.size + 4
    path = [_PROTOINFO, 1, 1]
    end = len(message)
    while path and at + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(message, at)
        if size < _ATTRIBUTE.size or at + size > end:
            return 0
        if kind & _NESTED == path[0]:
            path.pop(0)
            end, at = at + size, at + _ATTRIBUTE.size
            if not path:
                return at if at < end else 0
            continue
        at += align(size)
    return 0


class Walk:
    """Reads the table of the namespace it was opened in, a part at each call.

    A walk passes every bucket of the hash table, which all namespaces share: 8 ms for 262,144 of
    them, though this namespace have no entry (measured on 6.18).
    """

    def __init__(self) -> None:
        """Open it in the calling thread's namespace.

        Raises:
            OSError: when the kernel was built without it.
        """
        self._pieces = Pieces()
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._sample: deque[Entry | None] = deque()
        self._counts: Counter[Entry | None] = Counter()
        self._known: dict[Entry | None, Entry | None] = {}
        """One object for all entries that say the same: a sample is then a list of references."""
        self._complete = False
        self._asked = False
        self._socket = self._open()

    @staticmethod
    def _open() -> socket.socket:
        opened = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        patience = struct.pack("@ll", _ANSWER_TIMEOUT, 0)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        return opened

    def read(self, seconds: float) -> Tracked:
        """Walk on for so many seconds of CPU, or to the table's end; return the sample.

        At least `_EVERY` pieces are read. A table that is walked to its end in one call is reported
        as it is; of a larger one the last `ENTRIES` that were read, some of which may be gone
        meanwhile.

        Raises:
            TrackedError: when the answer is damaged.
            OSError: when the kernel refuses; EPERM without CAP_NET_ADMIN in the namespace.
        """
        began, whole, pieces = time.thread_time(), not self._asked, 0
        found: list[Entry | None] = []
        if not self._asked:
            self._ask()
        while True:
            size = self._socket.recv_into(self._buffer)
            part: list[Entry | None] = []
            last = self._pieces.take(self._view[:size], part)
            found += [self._known.setdefault(entry, entry) for entry in part]
            pieces += 1
            if last:
                self._asked = False
                break
            if pieces % _EVERY == 0 and time.thread_time() - began >= seconds:
                break
        self._complete = whole and not self._asked and len(found) <= ENTRIES
        if self._complete:
            self._sample.clear()
            self._counts.clear()
            self._known.clear()
        self._add(found)
        return self._summed()

    def _add(self, found: list[Entry | None]) -> None:
        sample, counts, known = self._sample, self._counts, self._known
        for entry in found[-ENTRIES:]:
            same = known.setdefault(entry, entry)
            sample.append(same)
            counts[same] += 1
        while len(sample) > ENTRIES:
            oldest = sample.popleft()
            counts[oldest] -= 1
            if not counts[oldest]:
                del counts[oldest], known[oldest]

    def _ask(self) -> None:
        # Any family: AF_UNSPEC. struct nlmsghdr, then struct nfgenmsg.
        request = HEADER.pack(20, _CT_GET, _REQUEST_DUMP, 1, 0) + struct.pack("=BBH", 0, 0, 0)
        self._socket.send(request)
        self._asked = True

    def _summed(self) -> Tracked:
        other = self._counts[None]
        pools: dict[Pool, int] = {}
        states: dict[str, int] = {}
        for entry, count in self._counts.items():
            if entry is None:
                continue
            source, destination, port, state = entry
            family = socket.AF_INET if len(source) == 4 else socket.AF_INET6
            pool = Pool(
                socket.inet_ntop(family, source), socket.inet_ntop(family, destination), port
            )
            pools[pool] = pools.get(pool, 0) + count
            name = STATES[state] if state < len(STATES) else str(state)
            states[name] = states.get(name, 0) + count
        return Tracked(len(self._sample), self._complete, len(self._sample) - other, pools, states)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TrackedReader:
    """Keeps a sample of one namespace's table, at the pace that its cost allows."""

    def __init__(self, namespace: int | None = None, *, share: float) -> None:
        """Open what is needed inside `namespace`.

        Args:
            namespace: a descriptor of it, which must stay open; None for one's own.
            share: of one core, that reading may use at most, on average.

        Raises:
            NamespaceError: when the namespace may not be entered.
            OSError: when the kernel has no NETLINK_NETFILTER.
        """
        self._pace, self._backoff = Pace(share), Backoff()
        self.last: Tracked | None = None
        """The sample, whenever it was last added to; None before the first."""
        self.reason: str | None = None
        """Why the table cannot be read; None while it can."""
        self._namespace = namespace
        self._walk: Walk | None = within(namespace, Walk)

    def read(self, now: float, *, force: bool = False) -> Tracked | None:
        """Read a part of the table if that is due; return the sample, None when there is none.

        Args:
            now: seconds of CLOCK_MONOTONIC.
            force: read a part large enough for a sample by itself, due or not.
        """
        if not (force or (self._pace.due(now) and self._backoff.due(now))):
            return self.last
        before = time.thread_time()
        try:
            if self._walk is None:
                self._walk = within(self._namespace, Walk)
            self.last = self._walk.read(_WHOLE if force else _PART)
        except (OSError, TrackedError, NamespaceError) as error:
            self.last = None
            self.reason = f"NETLINK_NETFILTER: {error}"
            if isinstance(error, PermissionError):
                self.reason = "NETLINK_NETFILTER: needs CAP_NET_ADMIN in this network namespace"
            self._backoff.failed(now)
            # With what is left of its answer unread a socket takes no further request.
            self.close()
            return None
        self._pace.paid(now, time.thread_time() - before)
        self._backoff.succeeded()
        self.reason = None
        return self.last

    def close(self) -> None:
        """Close everything."""
        if self._walk is not None:
            self._walk.close()
            self._walk = None
