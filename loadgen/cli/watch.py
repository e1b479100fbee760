"""`loadgen watch`: sample and show the kernel; no load."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadgen.cli import types
from loadgen.cli.group import fail, tell
from loadgen.target import endpoint, parse_target

if TYPE_CHECKING:
    from loadgen.watch.openmetrics import Exporter

_EPILOG = (
    "Examples: loadgen watch; loadgen watch 10.0.0.5:11211 --once; loadgen watch --netns web1 "
    "--json | jq .headroom[0]; loadgen watch --listen :9101 --out /var/lib/churnlab --quiet. "
    "docs/watch.md shows them at work; docs/metrics.md lists the metrics."
)


@click.command(epilog=_EPILOG)
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
@click.option("--once", is_flag=True, help="Take two readings, show what they say, and end.")
@click.option(
    "--netns", default=None, metavar="NAME|PID", help="Watch this namespace instead of one's own."
)
@click.option(
    "--pid",
    type=click.IntRange(1, 2**31 - 1),
    multiple=True,
    help="Also watch the open files of this process, such as the client's.",
)
@click.option(
    "--stats",
    is_flag=True,
    help="Also ask the targets for memcached's statistics, over one connection each.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="JSON lines on stdout; the default when stdout is no terminal.",
)
@click.option(
    "--listen",
    type=types.LISTEN,
    default=None,
    metavar="[HOST]:PORT",
    help="Serve OpenMetrics at /metrics, with node_exporter's names, on 127.0.0.1 unless a HOST is "
    "given; 0.0.0.0 is all addresses (extra: churnlab[metrics]).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    metavar="DIR",
    help="Record there, for hours or days; one that is there already is continued. See "
    "`loadgen report DIR` and `lab plan --from DIR`.",
)
@click.option(
    "--keep",
    type=types.SIZE,
    default="64M",
    show_default=True,
    help="Disk that the recording may take; the oldest goes first.",
)
@click.option(
    "--names",
    is_flag=True,
    help="Look up names for addresses (DNS) and ports (/etc/services), and show these.",
)
@click.option("--quiet", is_flag=True, help="Show nothing; for --listen and --out.")
def command(**chosen: Any) -> None:
    """Show how near a host is to its limits, when they are reached, and who uses them; no load.

    Ports, TIME_WAIT, conntrack, accept queues and open files, each with its limit; who holds them, by
    destination, process, container and unit; what one connect() costs; and what happens a second.
    Ports are counted toward the given targets, or toward all when none is given.
    """
    from loadgen.cli import watching
    from loadgen.sampling.namespace import open_namespace
    from loadgen.watch.session import Session

    options = watching.WatchOptions(**chosen)
    if options.stats and not options.target:
        fail("--stats asks the targets; name one, such as 127.0.0.1:11211")
    for pid in options.pid:
        if not os.path.isdir(f"/proc/{pid}"):  # noqa: PTH112 - one line, and no Path needed
            fail(f"--pid {pid}: no such process")
    exporter = _exporter(options.listen)
    where = nullcontext() if options.netns is None else open_namespace(options.netns)
    try:
        with (
            where as namespace,
            Session(
                namespace,
                _addresses(options.target),
                stats=options.stats,
                pids=options.pid,
            ) as session,
        ):
            watching.watch(session, options, exporter)
    except ValueError as error:
        fail(str(error))
    finally:
        if exporter is not None:
            exporter.close()


def _addresses(targets: tuple[str, ...]) -> list[tuple[str, int]]:
    """Return the targets' addresses; nothing is sent there, so any may be watched."""
    from loadgen.run.resolve import resolved

    parsed = map(parse_target, targets)
    return [(resolved(target)[0], target.port) for target in parsed]


def _exporter(where: tuple[str, int] | None) -> Exporter | None:
    if where is None:
        return None
    try:
        from loadgen.watch.openmetrics import Exporter
    except ImportError:
        fail("--listen needs the package prometheus-client: pip install 'churnlab[metrics]'")
    host, port = where
    try:
        exporter = Exporter(host, port)
    except OSError as error:
        fail(f"--listen {endpoint(host, port)}: {error.strerror}; give another address or port")
    except ValueError as error:
        fail(f"--listen: {error}")
    shown = endpoint(host or "127.0.0.1", exporter.port)
    tell(f"serving http://{shown}/metrics", err=True)
    return exporter
