"""What `loadgen watch` shows on a terminal: a line a limit, who uses it, what happens a second. Pure.

The narrower the terminal, the fewer columns; the lower, the fewer lines: what is nearest to its limit
comes first, and the rest is cut off and said to be. Colour only underlines what words and bars say
already, for terminals without it and for eyes that cannot tell red from green.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.units import NOTHING, format_duration
from loadgen.watch import words
from loadgen.watch.headroom import Gauge, History, advice
from loadgen.watch.who import Destination, Who
from loadgen.watch.words import amount

_LISTED: Final = 0.001
"""Limits used to a smaller share are summed up in one line: nothing to see there yet."""
_WARN, _ALARM = 0.5, 0.8
_BAR: Final = 20
_OUTLOOK: Final = "at this rate"
_READABLE: Final = 24
"""Columns below which sentences are hard to read: what is beside them gives way first."""
_NARROW, _WIDE = 80, 110
_HEADER, _LEAST = 4, 3

RATES: Final[tuple[tuple[str, str, bool], ...]] = (
    ("connections opened", "netstat_Tcp_ActiveOpens", False),
    ("connections accepted", "netstat_Tcp_PassiveOpens", False),
    ("TIME_WAIT entered", "netstat_TcpExt_TW", False),
    ("TIME_WAIT ports taken again", "netstat_TcpExt_TWRecycled", False),
    ("handshakes failed", "netstat_Tcp_AttemptFails", True),
    ("SYNs sent again", "netstat_TcpExt_TCPSynRetrans", True),
    ("retransmissions dropped here", "netstat_TcpExt_TCPRetransFail", True),
    ("accept queue overflows", "netstat_TcpExt_ListenOverflows", True),
    ("listener drops", "netstat_TcpExt_ListenDrops", True),
    ("SYN cookies sent", "netstat_TcpExt_SyncookiesSent", True),
    ("TIME_WAIT buckets overflowed", "netstat_TcpExt_TCPTimeWaitOverflow", True),
    ("conntrack drops", "nf_conntrack_stat_drop", True),
    ("conntrack early drops", "nf_conntrack_stat_early_drop", True),
    ("softnet drops", "softnet_dropped_total", True),
    ("connections refused by memcached", "memcached_rejected_connections", True),
)
"""Title, metric, whether anything above 0 is bad news."""


def _soon(line: Destination) -> float:
    return float("inf") if line.slow_in is None else line.slow_in


ORDERS: Final[Mapping[str, tuple[str, Callable[[Destination], Any]]]] = {
    "p": ("ports held", lambda line: -line.held),
    "r": ("connections a second", lambda line: -(line.rate or 0)),
    "c": ("cost of connect()", lambda line: -(line.connect or 0)),
    "s": ("time until slow", _soon),
    "d": ("destination", lambda line: (line.destination, line.port, line.source)),
}
"""Orders of the destinations by the key that chooses them."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the view is to look."""

    order: str = "p"
    """A key of `ORDERS`."""
    frozen: bool = False
    keys: bool = False
    """Whether there are keys to explain."""
    plain: bool = False
    """Whether the terminal has no characters but ASCII."""
    names: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Names for addresses and ports, where they are wanted."""


def bar(share: float, width: int = _BAR, *, plain: bool = False) -> str:
    """Return a bar for a share of 0 to 1; what is above 1 is full, what is above 0 is to be seen."""
    full, empty = ("#", ".") if plain else ("█", "░")
    filled = min(width, max(int(share * width + 0.5), 1 if share > 0 else 0))
    return full * filled + empty * (width - filled)


def full_in(gauge: Gauge) -> str:
    """Return when a gauge reaches its limit, in words."""
    left = gauge.full_in
    if left is None:
        return ""
    return "full" if left == 0 else f"full in {format_duration(left)}"


def _style(share: float) -> str:
    if share >= _ALARM:
        return "bold red"
    return "yellow" if share >= _WARN else ""


def _table(*columns: tuple[str, str], title: str = "") -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=title or None, title_justify="left",
        title_style="bold", show_edge=False,
    )  # fmt: skip
    for name, justify in columns:
        said = name == _OUTLOOK
        table.add_column(
            name,
            justify="right" if justify == "right" else "left",
            no_wrap=not said,
            overflow="fold" if said else "ellipsis",
        )
    return _settled(table)


def _settled(table: Table) -> Table:
    """Return the table with numbers and bars as wide as they are, and room for sentences."""
    for column in table.columns:
        if column.justify == "right" or not column.header:
            cells = [str(column.header), *map(str, column.cells)]
            column.min_width = max(cell_len(text) for text in cells)
        elif column.header == _OUTLOOK:
            said = max((cell_len(str(cell)) for cell in column.cells), default=0)
            column.min_width = min(_READABLE, max(said, cell_len(_OUTLOOK)))
    return table


def _one_pool(gauges: Sequence[Gauge]) -> list[Gauge]:
    """Return the gauges with the fullest pool and the fullest queue only: one line a limit."""
    seen: set[str] = set()
    found = []
    for gauge in gauges:
        if not gauge.labels or gauge.name not in seen:
            found.append(gauge)
        seen.add(gauge.name)
    return found


def _outlook(gauge: Gauge, who: Who | None, sysctls: Mapping[str, str]) -> str:
    for line in who.destinations if who is not None else ():
        place = {
            "source": line.source, "destination": line.destination, "port": str(line.port)
        }  # fmt: skip
        if gauge.labels == place:
            return words.outlook(line)
    return "; ".join(filter(None, [full_in(gauge), advice(gauge, sysctls)]))


def _limits(
    history: History, sysctls: Mapping[str, str], who: Who | None, look: Look, width: int
) -> Table:
    wide, narrow = width >= _WIDE, width < _NARROW
    table = _table(
        ("limit", ""), ("", ""), ("used", "right"),
        *([] if narrow else [("now", "right"), ("of", "right")]),
        *([("change/s", "right")] if wide else []), (_OUTLOOK, ""),
    )  # fmt: skip
    gauges = _one_pool(history.gauges())
    shown = [gauge for gauge in gauges if gauge.share >= _LISTED or not gauge.labels]
    length = _BAR if width >= _NARROW else _BAR // 2
    for gauge in shown:
        style = _style(gauge.share)
        change = NOTHING if gauge.growth is None else f"{gauge.growth:+,.0f}"
        table.add_row(
            Text(gauge.title if wide else _brief(gauge)),
            Text(bar(gauge.share, length, plain=look.plain), style=style),
            Text(f"{gauge.share:.1%}", style=style),
            *([] if narrow else [amount(gauge.value), amount(gauge.limit)]),
            *([change if change not in {"+0", "-0"} else "0"] if wide else []),
            Text(_outlook(gauge, who, sysctls), style=style),
        )
    return _settled(table)


def _brief(gauge: Gauge) -> str:
    """Return a title without what is in the list of destinations anyway."""
    return gauge.title.split(" from ", maxsplit=1)[0].replace(", whole machine", "")


def _destinations(who: Who, look: Look, width: int, most: int) -> Table:
    named, key = ORDERS[look.order]
    wide, narrow = width >= _WIDE, width < _NARROW
    lines = sorted(who.destinations, key=key)
    table = _table(
        *([("from", "")] if wide else []), ("toward", ""), ("ports", "right"),
        *([] if narrow else [("share", "right")]), ("a second", "right"),
        *([("live", "right"), ("lives", "right")] if wide else []),
        *([] if narrow else [("connect()", "right")]), (_OUTLOOK, ""), title=f"Destinations, by {named}",
    )  # fmt: skip
    for line in lines[:most]:
        style = "" if line.share is None else _style(line.share)
        share = NOTHING if line.share is None else f"{line.share:.1%}"
        table.add_row(
            *([Text(words.named(line.source, 0, look.names))] if wide else []),
            Text(words.named(line.destination, line.port, look.names)),
            amount(line.held),
            *([] if narrow else [Text(share, style=style)]),
            words.rate(line.rate),
            *([amount(line.live), words.short_time(line.lifetime)] if wide else []),
            *([] if narrow else [words.short_time(line.connect)]),
            Text(words.outlook(line), style=style),
        )
    more = who.more_destinations + max(0, len(lines) - most)
    if more:
        held = who.more_held + sum(line.held for line in lines[most:])
        blank: list[Text | str] = [Text(f"{more:,} more", style="dim"), amount(held)]
        table.add_row(*([""] if wide else []), *blank)
    return _settled(table)


def _owners(who: Who, width: int, most: int) -> Table:
    wide = width >= _WIDE
    table = _table(
        ("process", ""), ("where", ""), ("live", "right"), ("a second", "right"),
        *([("toward", "")] if wide else []),
        title=f"Who opens them, by {who.seen:,} live sockets seen within the last minute",
    )  # fmt: skip
    for line in who.owners[:most]:
        table.add_row(
            Text(words.owner(line)),
            Text(words.where(line)),
            amount(line.live),
            words.rate(line.rate),
            *([Text(", ".join(line.destinations))] if wide else []),
        )
    return _settled(table)


def _clients(who: Who, look: Look, most: int) -> Table:
    table = _table(
        ("client", ""), ("at", ""), ("live", "right"), ("TIME_WAIT", "right"),
        ("a second", "right"), title="Clients",
    )  # fmt: skip
    for line in who.clients[:most]:
        table.add_row(
            Text(words.named(line.client, 0, look.names)),
            Text(words.named(line.address, line.port, look.names)),
            amount(line.live), amount(line.time_wait), words.rate(line.rate),
        )  # fmt: skip
    return _settled(table)


def _tracked(who: Who, look: Look, most: int) -> Table:
    read = "all of them" if who.tracked_whole else f"by a sample of {who.tracked_read or 0:,}"
    table = _table(
        ("from", ""), ("toward", ""), ("entries", "right"), ("share", "right"),
        title=f"Tracked connections, {read}",
    )  # fmt: skip
    for line in who.tracked[:most]:
        table.add_row(
            Text(words.named(line.source, 0, look.names)),
            Text(words.named(line.destination, line.port, look.names)),
            amount(line.entries),
            f"{line.share:.1%}",
        )
    return _settled(table)


def _rates(history: History) -> Table:
    table = _table(("happening", ""), ("a second", "right"), ("in all", "right"))
    for title, name, bad in RATES:
        total = history.latest(name)
        if total is None or (bad and not total):
            continue
        rate = history.growth(name)
        style = "yellow" if bad and rate else ""
        table.add_row(
            Text(title, style=style),
            Text(NOTHING if rate is None else amount(rate), style=style),
            amount(total),
        )
    return _settled(table)


def _facts(history: History) -> str:
    facts = []
    busiest, softirq = (
        history.latest("cpu_busiest_share"),
        history.latest("cpu_busiest_softirq_share"),
    )
    if busiest is not None and softirq is not None:
        facts.append(f"busiest CPU {busiest:.0%}, its softirqs {softirq:.0%}")
    in_use = history.latest("sockstat_TCP_inuse")
    if in_use is not None:
        facts.append(f"TCP sockets in use {in_use:,}")
    if history.latest("nf_conntrack_entries") is None:
        facts.append("no connection tracking here")
    return "   ".join(facts)


def renderable(
    history: History,
    sysctls: Mapping[str, str],
    where: str,
    who: Who | None,
    look: Look,
    size: tuple[int, int | None],
) -> RenderableType:
    """Return the whole view for rich to print.

    Args:
        history: the readings so far.
        sysctls: in force in the namespace, by dotted key.
        where: what is watched, in words.
        who: who uses what; None before the first count.
        look: how it is to look.
        size: columns and lines of the terminal; None for as many lines as it takes.
    """
    width, height = size
    state = "  FROZEN: space goes on" if look.frozen else ""
    limits = _limits(history, sysctls, who, look, width)
    parts: list[RenderableType] = [
        Text.assemble((where, "bold"), (state, "bold reverse" if state else "")),
        Text(_facts(history), no_wrap=True, overflow="ellipsis"),
        Text(),
        limits,
    ]
    left = 1000 if height is None else height - limits.row_count - _HEADER - 3
    for table in _who(who, look, width, left):
        need = table.row_count + 4
        if left < need:
            break
        left -= need
        parts += [Text(), table]
    rates = _rates(history)
    if left >= rates.row_count + 3:
        parts += [Text(), rates]
    if look.keys:
        orders = " ".join(f"{key} {name}" for key, (name, _) in ORDERS.items())
        parts += [
            Text(),
            Text(f"sort: {orders}  space freeze  q quit", "dim", no_wrap=True, overflow="ellipsis"),
        ]
    return Group(*parts)


def _who(who: Who | None, look: Look, width: int, left: int) -> list[Table]:
    if who is None:
        return []
    # The destinations may fill half of what is left, the others share the rest.
    most = max(_LEAST, left // 2 - 4)
    rest = max(_LEAST, left // 6 - 2)
    found = []
    if who.destinations:
        found.append(_destinations(who, look, width, most))
    if who.owners:
        found.append(_owners(who, width, rest))
    if who.tracked:
        found.append(_tracked(who, look, rest))
    if who.clients:
        found.append(_clients(who, look, rest))
    return found
