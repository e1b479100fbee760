"""`loadgen watch`: sample and show the kernel; no load."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from loadgen.cli import types
from loadgen.cli.group import fail

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadgen.watch.openmetrics import Exporter
    from loadgen.watch.session import Session, WatchLine

_EPILOG = (
    "Examples: loadgen watch; loadgen watch 10.0.0.5:11211 --once; loadgen watch --netns web1 "
    "--json | jq .headroom[0]; loadgen watch --listen :9101 --quiet. docs/metrics.md lists the "
    "metrics."
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
    type=click.IntRange(min=1),
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
    help="Serve OpenMetrics at /metrics, with node_exporter's names (extra: churnlab[metrics]).",
)
@click.option("--quiet", is_flag=True, help="Show nothing; for --listen.")
def command(**options: Any) -> None:
    """Show how near a host is to its limits, and when they are reached at this rate; no load.

    Ports, TIME_WAIT, conntrack, accept queues and open files, each with its limit; below them what
    happens a second. Ports are counted toward the given targets, or toward all when none is given.
    """
    from loadgen.sampling.namespace import open_namespace
    from loadgen.watch.session import Session

    if options["stats"] and not options["target"]:
        fail("--stats asks the targets; name one, such as 127.0.0.1:11211")
    for pid in options["pid"]:
        if not os.path.isdir(f"/proc/{pid}"):  # noqa: PTH112 - one line, and no Path needed
            fail(f"--pid {pid}: no such process")
    exporter = _exporter(options["listen"])
    where = nullcontext() if options["netns"] is None else open_namespace(options["netns"])
    try:
        with (
            where as namespace,
            Session(
                namespace,
                _addresses(options["target"]),
                stats=options["stats"],
                pids=options["pid"],
            ) as session,
        ):
            _watch(session, options, exporter)
    except ValueError as error:
        fail(str(error))
    finally:
        if exporter is not None:
            exporter.close()


def _addresses(targets: tuple[str, ...]) -> list[tuple[str, int]]:
    """Return the targets' addresses; nothing is sent there, so any may be watched."""
    import socket

    from loadgen.target import parse_target

    found = []
    for text in targets:
        target = parse_target(text)
        try:
            infos = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ValueError(f"target {target} does not resolve: {error.strerror}") from None
        found.append((str(infos[0][4][0]), target.port))
    return found


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
        fail(f"--listen {host}:{port}: {error.strerror}; give another port")
    click.echo(f"serving http://{host or '0.0.0.0'}:{exporter.port}/metrics", err=True)  # noqa: S104 - what an empty host means, in words
    return exporter


def _watch(session: Session, options: dict[str, Any], exporter: Exporter | None) -> None:
    """Take readings on a grid of time until the end, and hand each to whoever shows it."""
    import time

    interval, duration = options["interval"], options["duration"]
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    start, round_number = time.monotonic(), 0
    line = session.read()
    with _Shown(session, options) as show:
        while True:
            if exporter is not None:
                exporter.update(line.values, session.history.gauges())
            if not options["once"] or round_number:
                show(line)
            done = options["once"] and round_number
            if done or (duration is not None and time.monotonic() - start >= duration):
                return
            # A reading that was late is not made up for.
            round_number = max(round_number + 1, int((time.monotonic() - start) / interval) + 1)
            if ended.wait(max(0.0, start + round_number * interval - time.monotonic())):
                return
            line = session.read(force=options["once"])


class _Shown:
    """Shows readings: as JSON lines, as a live table, or as text once; a context manager."""

    def __init__(self, session: Session, options: dict[str, Any]) -> None:
        self._session = session
        self._once = options["once"]
        where = options["netns"]
        self._where = "this host's namespace" if where is None else f"namespace {where}"
        self._as_json = options["as_json"] or not (sys.stdout.isatty() or options["once"])
        self._quiet = options["quiet"]
        self._live: Any = None

    def __enter__(self) -> Callable[[WatchLine], None]:
        if self._quiet:
            return lambda _: None
        if self._as_json:
            return self._json
        if self._once:
            return self._text
        from rich.live import Live

        self._live = Live(auto_refresh=False, screen=True, vertical_overflow="crop")
        self._live.start()
        return self._draw

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            # The screen is given back as it was; what was last seen stays in the scrollback.
            self._text(None)

    def _json(self, line: WatchLine) -> None:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.flush()

    def _draw(self, _: WatchLine) -> None:
        from loadgen.watch.table import renderable

        session = self._session
        self._live.update(renderable(session.history, session.sysctls, self._where), refresh=True)

    def _text(self, _: WatchLine | None) -> None:
        from loadgen.watch.table import render

        session = self._session
        sys.stdout.write(render(session.history, session.sysctls, self._where))
        sys.stdout.flush()
