"""How connect() looks for a local port: what it finds, what that costs, what it takes again. Pure.

The search is `__inet_hash_connect` in net/ipv4/inet_hashtables.c. Since 4.2 connect() looks at every
second port of its range first, those with the parity of the range's first port; only when all of
these are held does it look at the others. Half a range is therefore found quickly, here called the
*quick* ports. Beyond them each connect() first passes all quick ports, which are held, before
it finds one of the rest. docs/capacity.md has the formulas, under the labels that stand beside them
here, with how well each was measured.

Both users of these facts are above: the lab forecasts with them what a load will come to from an
idle start, `loadgen watch` what the next connect() costs as things stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from loadgen.errors import ChurnlabError
from loadgen.units import whole

TIME_WAIT: Final = 60.0
"""Seconds, TCP_TIMEWAIT_LEN in include/net/tcp.h: a constant, no sysctl changes it (measured:
60.2 s with tcp_fin_timeout = 5)."""


class CapacityError(ChurnlabError):
    """A situation that cannot be.

    Args:
        problem: as of `ChurnlabError`.
        remedy: the same.
        key: the sysctl whose value cannot be, by dotted key; empty where it is none.
    """

    def __init__(self, problem: str, remedy: str = "", *, key: str = "") -> None:
        super().__init__(problem, remedy)
        self.key = key


def version_of(release: str) -> tuple[int, int]:
    """Return the two leading numbers of a kernel release, such as `6.18.44-generic`.

    Raises:
        CapacityError: when it does not begin with two numbers.
    """
    match = re.match(r"(\d+)\.(\d+)", release, re.ASCII)
    if match is None:
        raise CapacityError(f"kernel release {release!r} does not begin with two numbers")
    return int(match[1]), int(match[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """How this kernel looks for a port, and when it reuses one.

    By release, as the commits were merged. The stable series and distributions bring changes back to
    older kernels: what was seen goes before what the number says.
    """

    parity_first: bool = True
    """connect() tries the ports of the first port's parity first (4.2, 07f4c90062f8)."""
    socket_range: bool = True
    """The socket option IP_LOCAL_PORT_RANGE (6.3, 91d0b78c5177)."""
    socket_range_in_order: bool = True
    """With that option every port is tried in turn, no parity first (6.8, 207184853dbd)."""
    nat_evicts: bool = True
    """A NAT without a free port evicts a mapping whose connection has closed (~6.5)."""
    skips: bool = True
    """A search begins 1 to 8 ports of its kind beyond the last one's end, at random (~5.18,
    "tcp: add small random increments to the source port"); before, at the next."""

    whole_seconds: bool = False
    """tcp_tw_reuse compares whole seconds: a port of one second is free in the next, 0 to 1 s old;
    since 6.14 it rests for tcp_tw_reuse_delay (19ce8cd30465, ca6a6f93867a)."""

    @classmethod
    def of(cls, release: str, seen: Mapping[str, bool] | None = None) -> Kernel:
        """Return what a kernel of this release does, such as `6.18.44-generic`.

        Args:
            release: see above.
            seen: what it was seen to do, by field; others than these fields are passed over.

        Raises:
            CapacityError: when it does not begin with two numbers.
        """
        version = version_of(release)
        kernel = cls(
            parity_first=version >= (4, 2),
            socket_range=version >= (6, 3),
            socket_range_in_order=version >= (6, 8),
            skips=version >= (5, 18),
            whole_seconds=version < (6, 14),
            nat_evicts=version >= (6, 5),
        )
        names = {field.name for field in fields(cls)}
        return replace(kernel, **{k: v for k, v in (seen or {}).items() if k in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What connect() costs the thread that calls it. The only figures that depend on the machine.

    Everything that is counted in ports and seconds follows from the settings alone; they
    decide how slow the slow search is. More threads do not help: they search the same buckets, and
    two were measured no faster than one.
    """

    connection: float = 50e-6
    """P6. Seconds of that thread's CPU for one connection whose port is found at once."""
    floor: float = 26e-6
    """Q3. Seconds of the client's CPU that the kernel itself takes for one connection, whoever opens
    it: measured 24 to 28 µs on 6.18."""
    per_port: float = 0.107e-6
    """P6. Seconds for each held port that the search passes. Measured on 6.18, 2 CPUs: 0.09 µs with
    6,000 ports; with a default range 0.107 µs (640 connections a second in the collapse), and up to
    0.28 µs where the processors were busy otherwise."""


def port_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Return a list of ports such as `6379,11211-11213` as sorted, merged, inclusive spans.

    The kernel prints ip_local_reserved_ports so (proc_do_large_bitmap).

    Raises:
        ValueError: when it is not such a list, with the part that is not.
    """
    spans = []
    for part in filter(None, "".join(text.split()).split(",")):
        first, dash, last = part.partition("-")
        low, high = whole(first), whole(last if dash else first)
        if low is None or high is None or not low <= high <= 65_535:
            raise ValueError(f"{part[:40]!r} is not a port, nor a range of ports")
        spans.append((low, high))
    merged: list[tuple[int, int]] = []
    for span in sorted(spans):
        if merged and span[0] <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], span[1]))
        else:
            merged.append(span)
    return tuple(merged)


def free_ports(
    low: int, high: int, reserved: tuple[tuple[int, int], ...], parity: int | None = None
) -> int:
    """Return how many ports of a range are not reserved.

    Args:
        low: first port.
        high: last port, included.
        reserved: inclusive spans, sorted and not overlapping.
        parity: 0 or 1 to count only even or odd ports.
    """

    def span(first: int, last: int) -> int:
        if last < first:
            return 0
        if parity is None:
            return last - first + 1
        first += (first - parity) % 2
        return max(0, (last - first) // 2 + 1)

    taken = sum(span(max(low, first), min(high, last)) for first, last in reserved)
    return span(low, high) - taken


def usable_and_quick(
    low: int,
    high: int,
    reserved: tuple[tuple[int, int], ...],
    *,
    parity_first: bool,
    bound: bool = False,
) -> tuple[int, int]:
    """Return how many ports a search finds at all, and how many of them without the detour (P2, P3).

    Of an odd number of ports one stays unused: the search makes the number even
    (`remaining &= ~1`), so that the range's first port is found only by a search that begins there.

    Args:
        low: first port.
        high: last port, included.
        reserved: inclusive spans, sorted and not overlapping.
        parity_first: whether this search prefers one parity, see `Kernel`.
        bound: the port is chosen by bind(), which prefers the other parity so as not to take
            connect()'s ports.
    """
    if parity_first and high > low:
        high -= (high - low + 1) % 2
    usable = quick = free_ports(low, high, reserved)
    if parity_first and usable > 1:
        quick = free_ports(low, high, reserved, (low + bound) % 2)
        # With every quick port reserved the search goes straight to the others.
        quick = quick or usable
    return usable, quick


def takes_again(reuse: int, *, timestamps: bool, loopback: bool, bound: bool = False) -> bool:
    """Return whether connect() takes ports out of TIME_WAIT, after tcp_tw_reuse_delay.

    `tcp_twsk_unique` in net/ipv4/tcp_ipv4.c: tcp_tw_reuse must be 1, or 2 on loopback, and the old
    connection must have had timestamps, which both ends must offer (measured: with either end's
    off nothing is reused). A port that bind() chose before is refused whatever the setting.
    """
    return (reuse == 1 or (reuse == 2 and loopback)) and timestamps and not bound


def passed(held: float, usable: int, quick: int) -> float:
    """Return how many held ports one search passes before it finds a free one, on average (P6).

    While quick ports are free it passes next to none: a search begins where the last one ended, and
    what it meets there is what has been free for longest. Beyond them it passes all of them.

    Args:
        held: ports of the pool that cannot be taken now.
        usable: ports of the pool.
        quick: of these, those that are searched first.
    """
    if held >= usable:
        return float(usable)
    return float(quick) if quick < usable and held >= quick else 0.0


def search_seconds(held: float, usable: int, quick: int, costs: Costs) -> float:
    """Return the seconds of CPU that one connect() takes while so many ports are held (P6)."""
    return costs.connection + passed(held, usable, quick) * costs.per_port
