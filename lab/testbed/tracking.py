"""conntrack in a namespace: making it track, listing its entries, filling its table.

Tracking begins when a rule asks for a connection's state (since ~4.14), so a namespace without
rules has no entries. One such rule at any hook is enough: it registers conntrack's own hooks, which
see what is sent, what arrives and what is forwarded.

The limit is the host's and cannot be lowered for one namespace, but each namespace counts its own
entries against it; so a table can be brought to its limit by adding entries through ctnetlink,
without any change to the host. They are gone with the namespace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from lab.sysctl.apply import read_sysctls
from lab.testbed.base import UntestableError
from lab.testbed.processes import PATIENCE, run_tool

MOST: Final = 1 << 20
"""Entries beyond which a table is not filled: that many take a third of a GiB."""

_SLOWEST: Final = 1_500
"""Entries a second that are still waited for: an idle machine adds a hundred thousand."""
_LIMIT: Final = "net.netfilter.nf_conntrack_max"
_COUNT: Final = "net.netfilter.nf_conntrack_count"
_RULES: Final = (
    b"add table ip churnlab\n"
    b"add chain ip churnlab seen { type filter hook prerouting priority 0; policy accept; }\n"
    b"add rule ip churnlab seen ct state established,related counter\n"
)
_LINE: Final = re.compile(
    r"^tcp\s+6\s+(?P<left>\d+)\s+(?P<state>[A-Z_]+)\s+src=(?P<source>\S+)\s+dst=\S+\s+"
    r"sport=\d+\s+dport=(?P<port>\d+)"
)
_FILLER: Final = IPv4Address("198.19.128.0")
"""Destinations of made-up entries: in the lab's own block, and no address of any side."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tracked TCP connection."""

    state: str
    left: int
    """Seconds until it is dropped."""
    source: str
    port: int
    """Destination port of the first packet."""


def parse_entries(text: str) -> list[Entry]:
    """Return the TCP entries of what `conntrack -L` prints."""
    return [
        Entry(found["state"], int(found["left"]), found["source"], int(found["port"]))
        for line in text.splitlines()
        if (found := _LINE.match(line))
    ]


def enable(namespace: int) -> None:
    """Make a namespace track its connections.

    Raises:
        TestbedError: when nft or conntrack is not installed.
        UntestableError: when the kernel refuses the rule.
    """
    run_tool(namespace, ["nft", "-f", "-"], text=_RULES)
    run_tool(namespace, ["conntrack", "-C"])


def entries(namespace: int) -> list[Entry]:
    """Return a namespace's TCP entries; raises as `enable`."""
    return parse_entries(run_tool(namespace, ["conntrack", "-L", "-p", "tcp"]))


def room(namespace: int) -> int:
    """Return how many entries a namespace's table still takes.

    Raises:
        UntestableError: when connection tracking is not loaded.
    """
    values = read_sysctls(namespace, [_LIMIT, _COUNT])
    if _LIMIT not in values:
        raise UntestableError("connection tracking is not loaded", "run `modprobe nf_conntrack`")
    return int(values[_LIMIT]) - int(values.get(_COUNT, 0))


def restore_lines(count: int, seconds: int) -> Iterator[str]:
    """Yield the lines that make `count` different entries of established connections.

    Entries that have seen a reply are "assured", and a full table does not evict those early.
    """
    for number in range(count):
        destination = _FILLER + number // 60_000
        port = 1_024 + number % 60_000
        yield (
            f"-A -t {seconds} -u SEEN_REPLY,ASSURED -s {_FILLER - 1} -d {destination} "
            f"-r {destination} -q {_FILLER - 1} -p tcp --sport {port} --dport 9 "
            f"--reply-port-src 9 --reply-port-dst {port} --state ESTABLISHED\n"
        )


def fill(namespace: int, count: int, *, seconds: int = 60) -> None:
    """Add `count` entries that last `seconds`.

    Raises:
        TestbedError: when conntrack is not installed.
        UntestableError: for more than `MOST`, or when the kernel refuses them.
    """
    if count > MOST:
        raise UntestableError(
            f"{count:,} entries would be needed to fill the table; at most {MOST:,}"
        )
    file = os.memfd_create("conntrack-entries")
    try:
        _write(file, restore_lines(count, seconds))
        run_tool(
            namespace,
            ["conntrack", "-R", f"/proc/self/fd/{file}"],
            inherit=(file,),
            patience=max(PATIENCE, count / _SLOWEST),
        )
    finally:
        os.close(file)


def _write(file: int, lines: Iterable[str]) -> None:
    with os.fdopen(os.dup(file), "w", encoding="ascii") as stream:
        stream.writelines(lines)


def flush(namespace: int) -> None:
    """Drop all entries of a namespace; never raises."""
    with suppress(UntestableError):
        run_tool(namespace, ["conntrack", "-F"])
