"""What `loadgen watch` shows on a terminal: limits with their headroom, and rates."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.units import format_duration
from loadgen.watch.headroom import Gauge, History, advice

NOTHING = "–"
_LISTED = 0.001
"""Shares below this are summed up in one line: nothing to see there yet."""
_WARN, _ALARM = 0.5, 0.8

RATES: tuple[tuple[str, str, bool], ...] = (
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


def amount(value: float) -> str:
    """Return a number with thousands marked, with decimals only where it is small and needs them."""
    if value != value or abs(value) >= 10 or value == int(value):  # noqa: PLR0124 - NaN
        return f"{value:,.0f}"
    return f"{value:.1f}"


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


def _limits(history: History, sysctls: Mapping[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("limit", overflow="fold")
    for title in ("now", "of", "used", "change/s"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("at this rate", overflow="fold")
    gauges = history.gauges()
    shown = [gauge for gauge in gauges if gauge.share >= _LISTED or not gauge.labels]
    for gauge in shown:
        style = _style(gauge.share)
        words = [full_in(gauge), advice(gauge, sysctls)]
        change = NOTHING if gauge.growth is None else f"{gauge.growth:+,.0f}"
        table.add_row(
            Text(gauge.title),
            amount(gauge.value),
            amount(gauge.limit),
            Text(f"{gauge.share:.1%}", style=style),
            change if change not in {"+0", "-0"} else "0",
            Text("; ".join(filter(None, words)), style=style),
        )
    if len(shown) < len(gauges):
        hidden = len(gauges) - len(shown)
        table.add_row(Text(f"{hidden} more, all below {_LISTED:.1%}", style="dim"))
    return table


def _rates(history: History) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("happening")
    table.add_column("a second", justify="right")
    table.add_column("in all", justify="right")
    for title, name, bad in RATES:
        total = history.latest(name)
        if total is None:
            continue
        rate = history.growth(name)
        style = "yellow" if bad and rate else ""
        table.add_row(
            Text(title, style=style),
            Text(NOTHING if rate is None else amount(rate), style=style),
            amount(total),
        )
    return table


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


def renderable(history: History, sysctls: Mapping[str, str], where: str) -> RenderableType:
    """Return the whole view for rich to print.

    Args:
        history: the readings so far.
        sysctls: in force in the namespace, by dotted key.
        where: what is watched, in words.
    """
    parts: list[RenderableType] = [
        Text(where, style="bold"),
        Text(_facts(history)),
        _limits(history, sysctls),
        _rates(history),
    ]
    return Group(*parts)


def render(history: History, sysctls: Mapping[str, str], where: str, width: int = 110) -> str:
    """Return the view as plain text, for a pipe."""
    console = Console(width=width, color_system=None, force_terminal=False, no_color=True)
    with console.capture() as capture:
        console.print(renderable(history, sysctls, where))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
