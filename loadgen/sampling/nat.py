"""A NAT's ports: how many it holds toward one destination, and how many it may choose from.

Source NAT gives a connection an address of its own, and where its port is taken toward that
destination, another port too. Which are taken, the connection tracking table tells: the reply
direction of an entry names the address and port that the server sees (conntrack(8)). Entries outlive
their connections by the tracking timers, and hold the port as long.

The ports to choose from stand in the rule; without a range there they are 1,024 to 65,535 for
connections from such ports (`nf_nat_l4proto_unique_tuple` in net/netfilter/nf_nat_core.c).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from loadgen.metrics import NAT
from loadgen.sampling.files import within
from loadgen.sampling.pace import Pace
from loadgen.summary import Number

DEFAULT_PORTS: Final = 65_535 - 1_024 + 1
_SHARE = 0.002
"""Of one core, for reading the table."""
_MOST_BYTES = 8 << 20
"""Of the table that are read at a time: some 40,000 entries. Beyond them the count is a lower bound."""
_TABLE = "/proc/thread-self/net/nf_conntrack"
_NFT_PATIENCE = 2.0
_ENTRY = re.compile(
    rb"tcp +6 [^\n]*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) "
    rb"[^\n]*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)"
)


def fullest(table: bytes) -> int | None:
    """Return the ports held by translated connections toward the fullest destination.

    None where nothing is translated.
    """
    held: Counter[tuple[bytes, bytes, bytes]] = Counter()
    for entry in _ENTRY.finditer(table):
        source, _, _, _, server, address, port, _ = entry.groups()
        if address != source:
            held[address, server, port] += 1
    return max(held.values(), default=None)


def ports_of(ruleset: str) -> int | None:
    """Return how many ports the source NAT of `nft -j list ruleset` chooses from.

    The smallest range, where there are several rules; None where there is none, or one that nft
    does not understand.
    """
    try:
        listed = json.loads(ruleset)["nftables"]
    except (ValueError, KeyError, TypeError):
        return None
    ranges = [_size(action) for rule in _rules(listed) for action in _actions(rule)]
    return min(ranges, default=None)


def _rules(listed: Any) -> Iterator[Any]:
    if isinstance(listed, list):
        for item in listed:
            if isinstance(item, dict) and isinstance(item.get("rule"), dict):
                yield item["rule"]


def _actions(rule: Any) -> Iterator[Any]:
    for step in rule.get("expr", ()):
        for name in ("masquerade", "snat"):
            if isinstance(step, dict) and name in step:
                yield step[name]


def _size(action: Any) -> int:
    port = action.get("port") if isinstance(action, dict) else None
    if isinstance(port, int):
        return 1
    with suppress(KeyError, TypeError, ValueError):
        low, high = port["range"]  # type: ignore[index]
        return max(1, int(high) - int(low) + 1)
    return DEFAULT_PORTS


def _ruleset() -> str:
    try:
        done = subprocess.run(
            ["nft", "-j", "list", "ruleset"],
            capture_output=True,
            timeout=_NFT_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


class NatReader:
    """Reads a namespace's translated connections, at the pace that its cost allows."""

    def __init__(self, namespace: int) -> None:
        """Look at the rules inside `namespace`, once, and open its table there.

        Args:
            namespace: a descriptor of it; not kept.

        Raises:
            NamespaceError: when the namespace may not be entered.
        """
        self.absent: dict[str, str] = {}
        """Metrics that cannot be read here, each with the reason."""
        self._pace = Pace(_SHARE)
        self._limit, self._table = within(namespace, _look)
        if self._table is None:
            reason = f"{_TABLE.replace('thread-self/', '')}: not there (CONFIG_NF_CONNTRACK_PROCFS)"
            self.absent["nat_ports_in_use"] = reason
        if self._limit is None:
            self.absent["nat_ports_limit"] = "nft list ruleset: no source NAT that it understands"

    def read(self, *, now: float | None = None, force: bool = False) -> dict[str, Number]:
        """Return one reading, empty when the next is not due yet. Never raises."""
        moment = time.monotonic() if now is None else now
        if self._table is None or not (force or self._pace.due(moment)):
            return {}
        before = time.thread_time()
        held = fullest(_read(self._table))
        self._pace.paid(moment, time.thread_time() - before)
        values: dict[str, Number] = {}
        if held is not None or self._limit is not None:
            values["nat_ports_in_use"] = held or 0
            self.absent.pop("nat_ports_in_use", None)
        else:
            self.absent = {metric.name: "nothing is translated here" for metric in NAT}
        if self._limit is not None:
            values["nat_ports_limit"] = self._limit
        return values

    def close(self) -> None:
        """Close the table."""
        if self._table is not None:
            os.close(self._table)
            self._table = None


def _look() -> tuple[int | None, int | None]:
    """Return how many ports the rules have, and a descriptor of the table; in this thread's namespace."""
    table = None
    with suppress(OSError):
        table = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
    return ports_of(_ruleset()), table


def _read(table: int) -> bytes:
    pieces, size = [], 0
    with suppress(OSError):
        while size < _MOST_BYTES and (piece := os.pread(table, 1 << 16, size)):
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)
