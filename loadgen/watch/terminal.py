"""The live view on a terminal: keys that sort, freeze and quit, and whatever size it has become.

Keys are read one by one (termios' cbreak: no Enter, no echo, Ctrl-C still a signal). Waiting for the
next reading is waiting for a key too, and for a signal: the interpreter writes a byte for each into a
pipe (`signal.set_wakeup_fd`), so a new size of the terminal is drawn at once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.live import Live

from loadgen.foreign import Harmless
from loadgen.watch.view import ORDERS, Look

_QUIT: Final = frozenset("q\x1b\x04")
"""q, Escape and Ctrl-D."""
Draw = Callable[[Look, tuple[int, int]], RenderableType]


def after(look: Look, key: str) -> Look | None:
    """Return how the view is to look after a key; None when it is to end."""
    if key in _QUIT:
        return None
    if key == " ":
        return replace(look, frozen=not look.frozen)
    return replace(look, order=key) if key in ORDERS else look


class Wakeup:
    """A pipe that has something to read once a signal came; a context manager."""

    def __enter__(self) -> Self:
        """Open it, and have the interpreter write into it."""
        self.descriptor, self._other = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = signal.set_wakeup_fd(self._other, warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        signal.set_wakeup_fd(self._before)
        os.close(self.descriptor)
        os.close(self._other)

    def empty(self) -> None:
        """Read what is in it."""
        with suppress(BlockingIOError):
            os.read(self.descriptor, 4096)


class Screen:
    """The view on the terminal's other screen; a context manager.

    Args:
        look: to begin with.
        draw: returns what is to be seen.
        wakeup: opened by the caller.
    """

    def __init__(self, look: Look, draw: Draw, wakeup: Wakeup) -> None:
        console = Console()
        plain = not (console.encoding or "").lower().startswith("utf")
        self._keys = sys.stdin.isatty()
        self.look = replace(look, keys=self._keys, plain=plain)
        self._draw = draw
        self._wakeup = wakeup
        self._console = console
        self._live = Live(
            console=console, auto_refresh=False, screen=True, vertical_overflow="crop"
        )

    def __enter__(self) -> Self:
        """Take the terminal."""
        with ExitStack() as stack:
            if self._keys:
                settings = termios.tcgetattr(sys.stdin)
                tty.setcbreak(sys.stdin)
                stack.callback(termios.tcsetattr, sys.stdin, termios.TCSADRAIN, settings)
            before = signal.signal(signal.SIGWINCH, lambda *_: None)
            stack.callback(signal.signal, signal.SIGWINCH, before)
            stack.enter_context(self._live)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back as it was."""
        self._stack.close()

    def redraw(self) -> None:
        """Show what is to be seen now."""
        size = self._console.size
        self._live.update(Harmless(self._draw(self.look, (size.width, size.height))), refresh=True)

    def wait(self, until: float, ended: Callable[[], bool]) -> bool:
        """Obey keys until a moment of CLOCK_MONOTONIC; return whether to go on.

        Args:
            until: see above.
            ended: whether a signal has asked for the end.
        """
        while not ended():
            left = until - time.monotonic()
            if left <= 0:
                return True
            sources = [self._wakeup.descriptor, *([sys.stdin.fileno()] if self._keys else [])]
            ready, _, _ = select.select(sources, [], [], left)
            if not ready:
                return True
            if self._wakeup.descriptor in ready:
                self._wakeup.empty()
            if self._keys and sys.stdin.fileno() in ready and not self._obey():
                return False
            if not ended():
                self.redraw()
        return False

    def _obey(self) -> bool:
        pressed = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
        if not pressed:  # the terminal has gone
            return False
        # An arrow key begins with the same byte as Escape, and is more than that.
        for key in [pressed] if pressed == "\x1b" else pressed.replace("\x1b", ""):
            found = after(self.look, key)
            if found is None:
                return False
            self.look = found
        return True
