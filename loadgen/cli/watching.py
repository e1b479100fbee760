"""Carries `loadgen watch` out: readings on a grid of time, handed to whoever shows them."""

from __future__ import annotations

import copy
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from loadgen.cli.group import say
from loadgen.report.plain import plain
from loadgen.watch.session import Session, WatchLine
from loadgen.watch.terminal import Screen, Wakeup
from loadgen.watch.view import Look, renderable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from loadgen.watch.openmetrics import Exporter
    from loadgen.watch.recorder import Recorder

_COLUMNS: Final = 120
"""Of the view where there is no terminal to measure."""
Names = Callable[[WatchLine], Mapping[tuple[str, int], str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """What is asked of `loadgen watch`."""

    target: tuple[str, ...]
    """Toward which ports are counted; toward all where none is given."""
    interval: float
    """Seconds."""
    duration: float | None
    """Seconds; None for until it is ended."""
    once: bool
    netns: str | None
    """None for one's own namespace."""
    pid: tuple[int, ...]
    stats: bool
    as_json: bool
    listen: tuple[str, int] | None
    out: Path | None
    keep: int
    """Bytes that a recording may take."""
    names: bool
    quiet: bool


def watch(session: Session, options: WatchOptions, exporter: Exporter | None) -> None:
    """Take readings until the end."""
    interval, duration, once = options.interval, options.duration, options.once
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    # The first reading leaves nothing out and takes its time; the grid begins with it.
    line = session.read()
    reason = session.absent.get("ephemeral_ports_in_use")
    if reason is not None and not options.quiet:
        say(
            f"ports in use, and who holds them, are not counted: {reason}; that takes the right to open "
            "netlink sockets (AF_NETLINK) and a kernel with CONFIG_INET_DIAG",
            "note",
        )
    start, round_number = time.monotonic(), 0
    with ExitStack() as stack:
        wakeup = stack.enter_context(Wakeup())
        recorder = _recorder(options)
        if recorder is not None:
            stack.callback(recorder.close)
        show = _shown(session, options, wakeup)
        stack.enter_context(show)
        while True:
            if exporter is not None:
                exporter.update(line.values, session.history.gauges(), session.who)
            if recorder is not None:
                recorder.add(line, session)
            if not once or round_number:
                show.show(line)
            done = once and round_number
            if done or (duration is not None and time.monotonic() - start >= duration):
                return
            # A reading that was late is not made up for.
            round_number = max(round_number + 1, int((time.monotonic() - start) / interval) + 1)
            if not show.wait(start + round_number * interval, lambda: bool(signals)):
                return
            line = session.read(force=once)


class _Plain:
    """Shows nothing, JSON lines, or the view as text once."""

    def __init__(self, show: Callable[[WatchLine], None], wakeup: Wakeup) -> None:
        self.show = show
        self._wakeup = wakeup

    def wait(self, until: float, ended: Callable[[], bool]) -> bool:
        """Wait for the moment or a signal."""
        while not ended():
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._wakeup.descriptor], [], [], left)[0]:
                return True
            self._wakeup.empty()
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class _Live:
    """Shows the view on the terminal, and leaves its last state in the scrollback."""

    def __init__(self, session: Session, options: WatchOptions, wakeup: Wakeup) -> None:
        self._session = session
        self._where = _where(options)
        self._names = _names(options)
        self._line: WatchLine | None = None
        self._frozen: tuple[Any, ...] | None = None
        self._screen = Screen(Look(), self._drawn, wakeup)

    def _drawn(self, look: Look, size: tuple[int, int]) -> RenderableType:
        session = self._session
        if not look.frozen:
            self._frozen = None
        elif self._frozen is None:
            self._frozen = copy.deepcopy(session.history), session.who
        history, who = self._frozen or (session.history, session.who)
        return renderable(history, session.sysctls, self._where, who, look, size)

    def show(self, line: WatchLine) -> None:
        self._line = line
        self._screen.look = _named(self._screen.look, self._names(line))
        self._screen.redraw()

    def wait(self, until: float, ended: Callable[[], bool]) -> bool:
        return self._screen.wait(until, ended)

    def __enter__(self) -> Self:
        self._screen.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._screen.__exit__(kind, error, trace)
        if self._line is not None and error is None:
            look = Look(order=self._screen.look.order, names=self._screen.look.names)
            sys.stdout.write(_text(self._session, self._where, look))


def _shown(session: Session, options: WatchOptions, wakeup: Wakeup) -> _Plain | _Live:
    where = _where(options)
    names = _names(options)

    def text(line: WatchLine) -> None:
        sys.stdout.write(_text(session, where, Look(names=names(line))))
        sys.stdout.flush()

    if options.quiet:
        return _Plain(lambda _: None, wakeup)
    if options.as_json or not (sys.stdout.isatty() or options.once):
        return _Plain(_json, wakeup)
    return _Plain(text, wakeup) if options.once else _Live(session, options, wakeup)


def _json(line: WatchLine) -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.flush()


def _text(session: Session, where: str, look: Look) -> str:
    drawn = renderable(session.history, session.sysctls, where, session.who, look, (_COLUMNS, None))
    return plain(drawn, _COLUMNS)


def _recorder(options: WatchOptions) -> Recorder | None:
    if options.out is None:
        return None
    from loadgen.watch.recorder import Recorder

    def warn(text: str) -> None:
        say(text, "warning")

    return Recorder(
        options.out,
        most=options.keep,
        interval=options.interval,
        namespace=_where(options),
        warn=warn,
    )


def _where(options: WatchOptions) -> str:
    where = options.netns
    return "this host's namespace" if where is None else f"namespace {where}"


def _named(look: Look, names: Mapping[tuple[str, int], str]) -> Look:
    from dataclasses import replace

    return replace(look, names=names) if names else look


def _names(options: WatchOptions) -> Names:
    if not options.names:
        return lambda _: {}
    from loadgen.watch.names import Names as Lookup

    lookup = Lookup()
    return lambda line: lookup.of(line.who) if line.who is not None else lookup.known
