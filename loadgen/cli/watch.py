"""`loadgen watch`: sample and show the kernel; no load."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from loadgen.cli import types
from loadgen.cli.group import fail

_SHOWN = (
    ("TIME_WAIT", "sockstat_TCP_tw", "gauge"),
    ("TCP in use", "sockstat_TCP_inuse", "gauge"),
    ("ports in use", "ephemeral_ports_in_use", "gauge"),
    ("conntrack", "nf_conntrack_entries", "gauge"),
    ("opens/s", "netstat_Tcp_ActiveOpens", "counter"),
    ("accepts/s", "netstat_Tcp_PassiveOpens", "counter"),
    ("reused/s", "netstat_TcpExt_TWRecycled", "counter"),
    ("SYN again/s", "netstat_TcpExt_TCPSynRetrans", "counter"),
    ("listen drops/s", "netstat_TcpExt_ListenDrops", "counter"),
    ("conntrack drops/s", "nf_conntrack_stat_drop", "counter"),
)


def row(
    before: Mapping[str, float], now: Mapping[str, float], seconds: float
) -> list[tuple[str, str]]:
    """Return what is shown of two readings `seconds` apart: gauges as they are, counters a second."""
    shown = []
    for title, name, kind in _SHOWN:
        value = now.get(name)
        if value is None:
            text = "–"
        elif kind == "gauge":
            text = f"{value:,.0f}"
        else:
            text = f"{(value - before.get(name, value)) / seconds:,.0f}"
        shown.append((title, text))
    return shown


@click.command()
@click.argument("target", nargs=-1, metavar="[HOST:PORT]...")
@click.option(
    "--interval",
    type=types.DURATION,
    default="1s",
    show_default=True,
    help="Time between two readings.",
)
@click.option(
    "--duration", type=types.DURATION, default=None, help="Stop after this time.  [default: Ctrl-C]"
)
@click.option(
    "--netns", default=None, metavar="NAME|PID", help="Watch this namespace instead of one's own."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Samples as JSON lines on stdout; the default when stdout is no terminal.",
)
def command(**options: Any) -> None:
    """Show TIME_WAIT, ports, conntrack and drops of a namespace, a line each interval; no load.

    Ports in use are counted toward the given targets (addresses), or toward all when none is given.
    """
    from loadgen.namespace import NamespaceError, open_namespace
    from loadgen.sample import ROLE_CLIENT, Sample, encode_line
    from loadgen.sampling import NamespaceReader
    from loadgen.target import parse_target

    try:
        targets = [parse_target(text) for text in options["target"]]
        namespace = None if options["netns"] is None else open_namespace(options["netns"])
        reader = NamespaceReader(
            namespace,
            targets=[(target.host, target.port) for target in targets],
            ports=bool(targets),
        )
    except (ValueError, NamespaceError) as error:
        fail(str(error))
    as_json = options["as_json"] or not sys.stdout.isatty()
    interval, duration = options["interval"], options["duration"]
    start = time.monotonic()
    before, before_at, number = reader.read(force=True), start, 0
    try:
        while duration is None or time.monotonic() - start < duration:
            number += 1
            time.sleep(max(0.0, start + number * interval - time.monotonic()))
            now = reader.read()
            at = time.monotonic()
            if as_json:
                sys.stdout.buffer.write(encode_line(Sample(at - start, ROLE_CLIENT, now)))
            else:
                cells = row(before, now, at - before_at)
                if number % 20 == 1:
                    click.echo("  ".join(f"{title:>{_width(title)}}" for title, _ in cells))
                click.echo("  ".join(f"{text:>{_width(title)}}" for title, text in cells))
            sys.stdout.flush()
            before, before_at = {**before, **now}, at
    except KeyboardInterrupt:
        pass
    finally:
        reader.close()


def _width(title: str) -> int:
    return max(10, len(title))
