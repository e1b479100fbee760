"""conntrack in a namespace: making it track, listing its entries, filling its table.

Tracking begins when a rule asks for it (since ~4.14), so a namespace without rules has no entries.
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

from lab.testbed.ground import Ground, Role, UntestableError

MOST: Final = 1 << 20
"""Entries beyond which a table is not filled: that many take a third of a GiB."""

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


def enable(ground: Ground, role: Role) -> None:
    """Make a side track its connections.

    Raises:
        TestbedError: when nft or conntrack is not installed.
        UntestableError: when the kernel refuses the rule.
    """
    ground.run(role, ["nft", "-f", "-"], text=_RULES)
    ground.run(role, ["conntrack", "-C"])


def entries(ground: Ground, role: Role) -> list[Entry]:
    """Return a side's TCP entries; raises as `enable`."""
    return parse_entries(ground.run(role, ["conntrack", "-L", "-p", "tcp"]))


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


def fill(ground: Ground, role: Role, count: int, *, seconds: int = 60) -> None:
    """Add `count` entries that last `seconds`; they are flushed when the ground is left.

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
        ground.stack.callback(flush, ground, role)
        ground.run(role, ["conntrack", "-R", f"/proc/self/fd/{file}"], inherit=(file,))
    finally:
        os.close(file)


def _write(file: int, lines: Iterable[str]) -> None:
    with os.fdopen(os.dup(file), "w", encoding="ascii") as stream:
        stream.writelines(lines)


def flush(ground: Ground, role: Role) -> None:
    """Drop all entries of a side; never raises."""
    with suppress(UntestableError):
        ground.run(role, ["conntrack", "-F"])
