"""Sockets counted by the kernel's own list of them: NETLINK_SOCK_DIAG, sock_diag(7).

One request makes the kernel walk its table of TCP sockets and answer with a record for each that
passes a filter, TIME_WAIT sockets included. What that costs, measured on Linux 6.18 with a table
of 262,144 chains: 0.2 ms for the walk, 0.1 µs for each socket that the filter looks at, and with
its record read here 0.25 µs more for each that passes; 10 ms for 28,000. /proc/net/tcp does the
same walk and then formats text; `ss` starts a process besides.

The request is the old form, TCPDIAG_GETSOCK, because it alone can ask for both address families at
once: one walk instead of two. A socket of family AF_INET6 that talks IPv4 (Java opens no others)
takes its port from the same pool as an AF_INET socket, and must not be missed.

The filter is a small program that the kernel runs on each socket (struct inet_diag_bc_op in
<linux/inet_diag.h>). Each step holds two jumps, one for yes and one for no, counted in bytes; a
jump to the very end of the program accepts the socket, a jump four bytes further rejects it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from loadgen.target import endpoint

Endpoint = tuple[str, int]

_NETLINK_SOCK_DIAG = 4
_TCPDIAG_GETSOCK = 18
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_INET_DIAG_REQ_BYTECODE = 1
_JMP, _S_GE, _S_LE, _S_COND, _D_COND = 1, 2, 3, 7, 8

HEADER = struct.Struct("=IHHII")
_OP = struct.Struct("=BBH")
_BUFFER = 1 << 16
"""The kernel hands out a dump in pieces of at most 32 KiB."""
_ANSWER_TIMEOUT = 2
"""Seconds. The kernel answers inside the call; this only guards against waiting for ever."""

TIME_WAIT, CLOSE, LISTEN = 6, 7, 10
"""Numbers of TCP states, <net/tcp_states.h>."""
CONNECTED = 0x1FFF & ~(1 << 0 | 1 << CLOSE | 1 << LISTEN)
"""Mask of all states in which a socket holds its place among the connections."""
LISTENING = 1 << LISTEN


class DiagError(ValueError):
    """An answer that is not the list of sockets it should be."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What TCP's local ports are counted by: each of these has the whole range to itself."""

    source: str
    destination: str
    port: int

    def __str__(self) -> str:
        """Return the pool as `198.18.0.1 > 198.18.0.2:11211`."""
        return f"{self.source} > {endpoint(self.destination, self.port)}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket: how many connections wait for accept(), and how many may."""

    address: str
    port: int
    queue: int
    limit: int
    inode: int = 0
    """By which its process can be found, in /proc/PID/fd."""


# --- requests -----------------------------------------------------------------------------------


def request(states: int, program: bytes, sequence: int = 1) -> bytes:
    """Return the request for all TCP sockets in the mask `states` that pass `program`."""
    body = struct.pack("=52xII", states, 0)
    if program:
        body += struct.pack("=HH", 4 + len(program), _INET_DIAG_REQ_BYTECODE) + program
    length = HEADER.size + len(body)
    return HEADER.pack(length, _TCPDIAG_GETSOCK, _NLM_F_REQUEST_DUMP, sequence, 0) + body


def port_bounds(low: int, high: int) -> list[bytes]:
    """Return the steps that let only local ports from `low` to `high` pass."""
    # The port stands in the next operation's second half.
    return [
        _OP.pack(_S_GE, 8, 0) + _OP.pack(0, 0, low),
        _OP.pack(_S_LE, 8, 0) + _OP.pack(0, 0, high),
    ]


def destination(address: str, port: int) -> bytes:
    """Return the step that lets only this remote address and port pass.

    The kernel compares an IPv4 condition with IPv4-mapped IPv6 addresses too.

    Raises:
        ValueError: when `address` is a name and not an address.
    """
    parsed = ipaddress.ip_address(address)
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    condition = struct.pack("=BBxxi", family, parsed.max_prefixlen, port) + parsed.packed
    return _OP.pack(_D_COND, _OP.size + len(condition), 0) + condition


def local_port(port: int) -> bytes:
    """Return the step that lets only this local port pass."""
    # Any address: a prefix of no bits. The kernel wants AF_UNSPEC with it (valid_hostcond).
    return _OP.pack(_S_COND, _OP.size + 8, 0) + struct.pack("=BBxxi", socket.AF_UNSPEC, 0, port)


def program(
    every: Iterable[bytes], either: Iterable[bytes] = (), none: Iterable[bytes] = ()
) -> bytes:
    """Return the filter that passes a socket if all of `every`, none of `none` and one of `either` hold.

    An empty `either` is no condition. Steps are laid out in order; `every` rejects on no. Each of
    `none` is followed by a jump that rejects, taken on yes and passed over on no. Each of
    `either` but the last is followed by a jump to the end, taken on yes, and goes on to the next
    on no.
    """
    choices = list(either)
    steps = list(every)
    forbidden = len(steps)
    for step in none:
        steps += [step, _OP.pack(_JMP, _OP.size, 0)]
    for step in choices[:-1]:
        steps += [step, _OP.pack(_JMP, _OP.size, 0)]
    steps += choices[-1:]
    total = sum(map(len, steps))
    first_choice = len(steps) - max(0, 2 * len(choices) - 1)
    done = bytearray()
    for number, step in enumerate(steps):
        rest = total - len(done)
        code, size = step[0], len(step)
        if code == _JMP:
            jump = rest + 4 if number < first_choice else rest
        elif forbidden <= number < first_choice:
            jump = size + _OP.size
        elif number < first_choice or number == len(steps) - 1:
            jump = rest + 4
        else:
            jump = size + _OP.size
        done += _OP.pack(code, step[1], jump) + step[_OP.size :]
    return bytes(done)


def pools_request(ports: tuple[int, int], targets: Iterable[Endpoint], sequence: int = 1) -> bytes:
    """Return the request for connections from local `ports` to any of `targets`, or anywhere."""
    steps = [destination(address, port) for address, port in targets]
    return request(CONNECTED, program(port_bounds(*ports), steps), sequence)


def listeners_request(sequence: int = 1) -> bytes:
    """Return the request for all listening sockets.

    Listeners stand in a table of their own, so this costs tens of microseconds.
    """
    return request(LISTENING, b"", sequence)


# --- answers ------------------------------------------------------------------------------------

# struct nlmsghdr, then struct inet_diag_msg: family, state, timer, retrans, local port, remote
# port, local and remote address of 16 bytes each (ports and addresses in network order), interface,
# cookie, expires, receive queue, send queue, uid, inode; then attributes.
_RECORD = HEADER.size + 72
_ERROR = struct.Struct("=i")
_LISTENER = struct.Struct("!4xH2x16s")
_QUEUES_AT = 56
_QUEUES = struct.Struct("=II4xI")
"""Receive queue, send queue, then the uid and the inode."""
_KIND_SIZE = 12
"""Length, type, flags and sequence number: alike in all records of a run."""
_KEY_AT, _KEY_SIZE = 22, 34
"""Remote port, local address, remote address: what sockets are counted by."""
_MORE, _DONE = 0, -1
_MAPPED = bytes(10) + b"\xff\xff"


def align(length: int) -> int:
    """Return where the next message or attribute begins: at a multiple of four."""
    return (length + 3) & ~3


@cache
def _run_of(step: int) -> struct.Struct:
    """Return the layout of one record in a run: what it is, and remote port with both addresses."""
    gap, rest = _KEY_AT - _KIND_SIZE, step - _KEY_AT - _KEY_SIZE
    return struct.Struct(f"={_KIND_SIZE}s{gap}x{_KEY_SIZE}s{rest}x")


def next_record(chunk: memoryview, at: int, sequence: int) -> tuple[int, int]:
    """Return place and length of the next record at or after `at`.

    The length is `_MORE` when this piece has no further record and `_DONE` when the dump has none.

    Raises:
        DiagError: when the piece is damaged.
        OSError: when it is the kernel's refusal.
    """
    end = len(chunk)
    while at < end:
        if end - at < HEADER.size:
            raise DiagError("sock_diag: a message shorter than its header")
        length, kind, _, number, _ = HEADER.unpack_from(chunk, at)
        if length < HEADER.size or align(length) > end - at:
            raise DiagError(f"sock_diag: a message of {length} bytes where {end - at} are left")
        if number != sequence:
            at += align(length)  # the rest of an earlier dump that was given up
            continue
        if kind in {_NLMSG_DONE, _NLMSG_ERROR}:
            # Both carry a negated errno; the end of a dump that went well carries 0.
            error = -_ERROR.unpack_from(chunk, at + HEADER.size)[0] if length >= 20 else 0
            if error > 0:
                raise OSError(error, os.strerror(error))
            if kind == _NLMSG_DONE:
                return at, _DONE
            raise DiagError("sock_diag: an error message without an error")
        if length < _RECORD:
            raise DiagError(f"sock_diag: a record of only {length} bytes")
        return at, length
    return at, _MORE


def count_pools(chunk: memoryview, sequence: int, counts: dict[bytes, int]) -> bool:
    """Add the connections in one piece of a dump to `counts`, by remote port and addresses.

    Thousands of TIME_WAIT sockets toward one server are many pieces in which all records say the
    same, and such a piece is counted as one. Otherwise records of sockets in the same state have
    the same length, so they come in runs, and a run is taken apart by one `struct` call.

    Returns:
        Whether the dump is complete.

    Raises:
        DiagError: when the piece is damaged.
        OSError: when it is the kernel's refusal.
    """
    at, length = next_record(chunk, 0, sequence)
    if length > 0 and at == 0 and _all_alike(chunk, length):
        key = bytes(chunk[_KEY_AT : _KEY_AT + _KEY_SIZE])
        counts[key] = counts.get(key, 0) + len(chunk) // length
        return False
    while length > 0:
        step = align(length)
        kind = bytes(chunk[at : at + _KIND_SIZE])
        whole = (len(chunk) - at) // step * step
        found = 0
        for this_kind, key in _run_of(step).iter_unpack(chunk[at : at + whole]):
            if this_kind != kind:
                break
            counts[key] = counts.get(key, 0) + 1
            found += 1
        at, length = next_record(chunk, at + found * step, sequence)
    return length == _DONE


def _all_alike(chunk: memoryview, length: int) -> bool:
    """Return whether the piece is records of `length` only, with one remote port and addresses.

    Compared column by column: a stride over the piece is the same field of every record.
    """
    if length % 8 or len(chunk) % length:
        return False
    eights, twos = chunk.cast("Q"), chunk.cast("H")
    for column in (
        eights[0 :: length // 8],  # length, type, flags
        eights[1 :: length // 8],  # sequence number and port: of this dump, not of an earlier one
        twos[11 :: length // 2],  # remote port
        *(eights[place :: length // 8] for place in (3, 4, 5, 6)),  # addresses
    ):
        values = column.tolist()
        if values.count(values[0]) != len(values):
            return False
    return True


def pools(counts: Mapping[bytes, int]) -> dict[Pool, int]:
    """Return what `count_pools` counted, under readable names."""
    named: dict[Pool, int] = {}
    for key, count in counts.items():
        pool = Pool(
            address_text(key[2:18]), address_text(key[18:34]), int.from_bytes(key[:2], "big")
        )
        named[pool] = named.get(pool, 0) + count
    return named


def find_listeners(chunk: memoryview, sequence: int, found: list[Listener]) -> bool:
    """Append the listening sockets in one piece of a dump to `found`.

    Returns and raises as `count_pools` does. A listener's receive queue is the number of
    connections that wait for accept(), its send queue the backlog they may grow to.
    """
    at, length = next_record(chunk, 0, sequence)
    while length > 0:
        port, address = _LISTENER.unpack_from(chunk, at + HEADER.size)
        queue, limit, inode = _QUEUES.unpack_from(chunk, at + HEADER.size + _QUEUES_AT)
        found.append(Listener(address_text(address), port, queue, limit, inode))
        at, length = next_record(chunk, at + align(length), sequence)
    return length == _DONE


def address_text(packed: bytes) -> str:
    """Return an address of 16 bytes as text.

    The kernel leaves the last 12 bytes of an IPv4 address zero. An IPv6 address that looks so is
    the anycast address of a /32 and no socket's; `::` is the one exception, and means the same as
    0.0.0.0. IPv4-mapped addresses are shown as IPv4: their ports come from the same pool.
    """
    if packed[4:] == bytes(12):
        return socket.inet_ntop(socket.AF_INET, packed[:4])
    if packed[:12] == _MAPPED:
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


# --- the socket ---------------------------------------------------------------------------------


class DiagSocket:
    """A netlink socket to the socket list of the namespace it was opened in."""

    def __init__(self) -> None:
        """Open it in the calling thread's namespace.

        Raises:
            OSError: when the kernel was built without NETLINK_SOCK_DIAG.
        """
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
        )
        # Not settimeout(), which polls before each of the hundred receive calls.
        patience = struct.pack("@ll", _ANSWER_TIMEOUT, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._sequence = 0

    def count_pools(self, ports: tuple[int, int], targets: Iterable[Endpoint]) -> dict[Pool, int]:
        """Return the local ports in use by pool: those in `ports`, toward `targets` or anywhere.

        Raises:
            DiagError: when the answer is damaged.
            OSError: when the kernel refuses; ENOENT means that its module tcp_diag is missing.
        """
        counts: dict[bytes, int] = {}
        self.dump(
            lambda sequence: pools_request(ports, targets, sequence),
            lambda chunk, sequence: count_pools(chunk, sequence, counts),
        )
        return pools(counts)

    def listeners(self) -> list[Listener]:
        """Return all listening sockets. Raises as `count_pools` does."""
        found: list[Listener] = []
        self.dump(listeners_request, lambda chunk, sequence: find_listeners(chunk, sequence, found))
        return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def dump(self, ask: Callable[[int], bytes], take: Callable[[memoryview, int], bool]) -> None:
        """Send a request and hand each piece of the answer to `take`, until it says that it has all.

        Args:
            ask: returns the request under a sequence number.
            take: is given a piece and that number; the piece is overwritten by the next.

        Raises:
            DiagError: when the answer is damaged.
            OSError: when the kernel refuses; ENOENT means that its module tcp_diag is missing.
        """
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        self._socket.send(ask(self._sequence))
        while not take(self._view[: self._socket.recv_into(self._buffer)], self._sequence):
            pass
