"""Which file each of a namespace's metrics is read from, how, and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from loadgen.metrics import CONNTRACK, DEVICES, NETSTAT, SNMP, SOCKSTAT, Metric
from loadgen.sampling import parse
from loadgen.sampling.files import KeptFile
from loadgen.summary import Number

Parser = Callable[[bytes], Mapping[str, Number]]

SLOW_EVERY = 0.5
"""Seconds between readings of what is worth its cost twice a second but not ten times."""

_NET = "/proc/thread-self/net"
_SYS = "/proc/sys/net"


class Tier(Enum):
    """How often a source is read."""

    FAST = "at each reading"
    SLOW = "every SLOW_EVERY seconds, and absent in between"
    SETTING = "every SLOW_EVERY seconds, and repeated in between"


class Source:
    """A file and the metrics that are made of it."""

    __slots__ = ("file", "found", "metrics", "parse", "tier")

    def __init__(
        self, path: str, metrics: Sequence[Metric], parser: Parser, tier: Tier = Tier.FAST
    ) -> None:
        """Open the file in the calling thread's namespace."""
        self.file = KeptFile(path)
        self.metrics = metrics
        self.parse = parser
        self.tier = tier
        self.found = -1
        """How many of `metrics` the last reading had; -1 before the first."""


def _fields(metrics: Sequence[Metric], prefix: str) -> dict[str, str]:
    """Return {field of the table: metric} for the metrics whose name begins with `prefix`."""
    return {
        metric.name.removeprefix(prefix): metric.name
        for metric in metrics
        if metric.name.startswith(prefix)
    }


def _named(parser: Callable[[bytes], Mapping[str, int]], fields: Mapping[str, str]) -> Parser:
    """Return `parser` with only the wanted fields, under the metrics' names."""

    def named(text: bytes) -> dict[str, int]:
        row = parser(text)
        return {metric: row[field] for field, metric in fields.items() if field in row}

    return named


def _number(metric: str) -> Parser:
    return lambda text: {metric: parse.integer(text, metric)}


def _last_number(metric: str) -> Parser:
    def last(text: bytes) -> dict[str, int]:
        numbers = parse.integers(text, metric)
        return {metric: numbers[-1]} if numbers else {}

    return last


def _drops(text: bytes) -> dict[str, int]:
    received, transmitted = parse.device_drops(text)
    return {
        "network_receive_drop_total": received,
        "network_transmit_drop_total": transmitted,
    }


def sources() -> list[Source]:
    """Open every file in the calling thread's namespace."""
    by_name = {metric.name: metric for metric in (*SOCKSTAT, *CONNTRACK)}
    limits = {
        "sockstat_TCP_tw_limit": (f"{_SYS}/ipv4/tcp_max_tw_buckets", _number),
        "sockstat_TCP_orphan_limit": (f"{_SYS}/ipv4/tcp_max_orphans", _number),
        "sockstat_TCP_mem_limit": (f"{_SYS}/ipv4/tcp_mem", _last_number),
        "nf_conntrack_entries_limit": (f"{_SYS}/netfilter/nf_conntrack_max", _number),
        "nf_conntrack_buckets": (f"{_SYS}/netfilter/nf_conntrack_buckets", _number),
    }
    entries = by_name["nf_conntrack_entries"]
    table = [metric for metric in SOCKSTAT if metric.name not in limits]
    stats = [metric for metric in CONNTRACK if metric.name not in limits and metric is not entries]
    return [
        Source(f"{_NET}/sockstat", table, parse.sockstat_places(_fields(table, "sockstat_"))),
        Source(f"{_NET}/snmp", SNMP, parse.paired_places(_fields(SNMP, "netstat_"))),
        Source(f"{_NET}/netstat", NETSTAT, parse.paired_places(_fields(NETSTAT, "netstat_"))),
        Source(f"{_SYS}/netfilter/nf_conntrack_count", [entries], _number(entries.name)),
        Source(f"{_NET}/dev", DEVICES, _drops, Tier.SLOW),
        Source(
            f"{_NET}/stat/nf_conntrack",
            stats,
            _named(parse.conntrack_stat, _fields(stats, "nf_conntrack_stat_")),
            Tier.SLOW,
        ),
        *(
            Source(path, [by_name[name]], make(name), Tier.SETTING)
            for name, (path, make) in limits.items()
        ),
    ]
