"""The live view in a terminal of its own: keys, sizes, no colour, and the terminal given back."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest


class Terminal:
    """`loadgen watch` in a pseudo terminal."""

    def __init__(self, columns: int, lines: int, **environment: str) -> None:
        self.master, self._slave = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "loadgen", "watch", "--interval", "100ms"],
            stdin=self._slave, stdout=self._slave, stderr=self._slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1", **environment},
        )  # fmt: skip
        self.seen = b""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, words: str) -> bytes:
        """Read until words appear in what was written since the last call; return all of that."""
        self.seen = b""
        give_up = time.monotonic() + 60
        while words.encode() not in self.seen:
            assert time.monotonic() < give_up, self.seen[-3000:].decode(errors="replace")
            if select.select([self.master], [], [], 1)[0]:
                self.seen += os.read(self.master, 65536)
        return self.seen

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Wait for the end, reading on, and return the exit code."""
        while self.process.poll() is None:
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += os.read(self.master, 65536)
        return self.process.returncode

    def settings(self) -> list[object]:
        return termios.tcgetattr(self._slave)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal(120, 40)
    yield made
    made.close()


def test_keys_resize_and_the_end(terminal: Terminal) -> None:
    terminal.until("TIME_WAIT sockets")
    assert terminal.settings() != terminal.before  # keys come one by one
    terminal.press(" ")
    terminal.until("FROZEN")
    terminal.press(" r")
    terminal.resize(50, 12)
    terminal.process.send_signal(signal.SIGWINCH)
    narrow = terminal.until("TIME_WAIT sock")
    assert b"FROZEN" not in narrow.split(b"TIME_WAIT sock")[0][-200:]
    terminal.press("q")
    assert terminal.end() == 0
    assert terminal.settings() == terminal.before
    assert b"\x1b[?1049l" in terminal.seen  # the other screen is left
    assert b"happening" in terminal.seen.split(b"\x1b[?1049l")[-1]  # the last state stays


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(terminal: Terminal, number: signal.Signals) -> None:
    terminal.until("TIME_WAIT sockets")
    terminal.process.send_signal(number)
    assert terminal.end() == 0
    assert terminal.settings() == terminal.before


def test_without_colour_words_and_bars_say_it() -> None:
    terminal = Terminal(120, 40, NO_COLOR="1")
    try:
        shown = terminal.until("open files")
        assert not any(f"\x1b[{number}m".encode() in shown for number in range(30, 50))
        terminal.press("\x1b")
        assert terminal.end() == 0
    finally:
        terminal.close()
