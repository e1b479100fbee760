"""Writes a recording: segments that rotate, bounded on disk, and the moments beside them.

Each line is one write(2), so a reader, and whoever looks after a crash, finds whole lines and at most
one cut. A segment that is full is compressed into a file of its own that is renamed into place, and
only then removed. A disk that is full costs the lines that found no room, not the watching.
"""

from __future__ import annotations

import errno
import gzip
import os
import platform
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from loadgen.errors import ChurnlabError
from loadgen.files import unwritten, write_all, write_whole
from loadgen.watch.moments import Marks
from loadgen.watch.recording import (
    CLOSED,
    LARGEST_SEGMENT,
    MOMENTS,
    OPEN,
    SEGMENTS,
    Head,
    Piece,
    Tick,
    Use,
    changes,
    encode,
)
from loadgen.watch.session import Session, WatchLine

LEAST: Final = 1 << 20
"""Bytes that a recording may be bounded to at least."""
DEFAULT: Final = 64 << 20
_PARTS: Final = 16
"""A segment is at most this part of all, before it is compressed."""
_MOMENTS_SHARE: Final = 8
"""The moments take at most this part of all."""
_USE_EVERY: Final = 10.0
"""Seconds between two records of who uses what."""
_FASTER: Final = 1.1
"""How much more a second must be opened than at the last record for one to be made at once."""


class RecordingError(ChurnlabError):
    """A directory that cannot be recorded to, or read back."""


class Recorder:
    """Records what a session reads.

    Args:
        directory: made if it is not there; one with a recording is continued.
        most: bytes that it may take on disk.
        interval: seconds between two readings.
        namespace: what is watched, in words.
        warn: told once when nothing can be written, and once when it goes on.

    Raises:
        RecordingError: when the directory cannot be written to, or holds something else.
    """

    def __init__(
        self,
        directory: Path,
        *,
        most: int,
        interval: float,
        namespace: str,
        warn: Callable[[str], None],
    ) -> None:
        self._directory, self._most, self._interval = directory, most, interval
        self._namespace, self._warn = namespace, warn
        self._segments = directory / SEGMENTS
        self._marks = Marks()
        self._descriptor = -1
        self._path = self._segments
        self._written, self._use_at = 0, 0.0
        self._origin = self._use_rate = 0.0
        self._before: dict[str, float] = {}
        self._failing = False
        try:
            if directory.exists() and not self._segments.is_dir() and any(directory.iterdir()):
                raise RecordingError(f"{directory} holds something else", "give an empty directory")
            self._segments.mkdir(parents=True, exist_ok=True)
            # What a killed recorder has left open is closed by the next.
            for path in self._segments.glob(f"*{OPEN}"):
                self._compress(path)
        except OSError as error:
            raise RecordingError(f"cannot record to {directory}: {error.strerror}") from None

    def add(self, line: WatchLine, session: Session) -> None:
        """Write one reading, who uses what if that is due, and what began or ended with it."""
        now = time.time()
        try:
            self._add(line, session, now)
        except OSError as error:
            self._close()
            if not self._failing:
                self._failing = True
                told = unwritten(OSError(error.errno, error.strerror), self._directory)
                self._warn(f"{told.problem}; trying again")
        else:
            if self._failing:
                self._failing = False
                self._warn(f"recording to {self._directory} goes on")

    def _add(self, line: WatchLine, session: Session, now: float) -> None:
        if self._descriptor < 0 or self._written >= min(self._most / _PARTS, LARGEST_SEGMENT):
            self._rotate(session, now)
        t = round(now - self._origin, 3)
        self._write(Tick(t=t, **changes(self._before, line.values)))
        self._before = dict(line.values)
        if line.who is not None:
            rate = line.who.rate or 0.0
            if now >= self._use_at or rate > self._use_rate * _FASTER:
                self._use_at, self._use_rate = now + _USE_EVERY, rate
                self._write(Use(t=t, who=line.who))
        for moment in self._marks.take(
            now, line.values, session.history.gauges(), line.who, session.sysctls
        ):
            self._write(moment)
            self._keep(encode(moment))

    def _write(self, piece: Piece) -> None:
        data = encode(piece)
        if os.write(self._descriptor, data) < len(data):
            # The disk is full: what there is of the line is taken away again.
            os.ftruncate(self._descriptor, self._written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._written += len(data)

    def _keep(self, data: bytes) -> None:
        """Append to the moments while there is room: the first are the ones to keep."""
        path = self._directory / MOMENTS
        size = path.stat().st_size if path.exists() else 0
        if size + len(data) <= self._most / _MOMENTS_SHARE:
            with path.open("ab", buffering=0) as file:
                try:
                    write_all(file, data)
                except OSError:
                    file.truncate(size)
                    raise

    def _rotate(self, session: Session, now: float) -> None:
        self._close()
        numbers = [_number(path) for path in self._segments.iterdir()]
        self._path = self._segments / f"{max(numbers, default=0) + 1:08d}{OPEN}"
        self._descriptor = os.open(
            self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self._written, self._before, self._use_at = 0, {}, 0.0
        self._origin = now
        head = Head(
            time=now,
            host=socket.gethostname(),
            namespace=self._namespace,
            kernel=platform.release(),
            interval=self._interval,
            sysctls=dict(session.sysctls),
            absent=session.absent,
        )
        self._write(head)
        self._bound()

    def _bound(self) -> None:
        """Leave out the oldest segments until all fits, a full new segment included."""
        found = sorted(
            (_number(path), path) for path in self._segments.iterdir() if path != self._path
        )
        sizes = {path: path.stat().st_size for _, path in found}
        room = self._most * (1 - 1 / _MOMENTS_SHARE - 2 / _PARTS)
        total = sum(sizes.values())
        for _, path in found:
            if total <= room:
                break
            path.unlink()
            total -= sizes[path]

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with suppress(OSError):
                if self._written:
                    self._compress(self._path)
                else:
                    self._path.unlink()

    @staticmethod
    def _compress(path: Path) -> None:
        write_whole(path.with_suffix(CLOSED), gzip.compress(path.read_bytes(), 6))
        path.unlink()

    def close(self) -> None:
        """Close the segment."""
        self._close()


def _number(path: Path) -> int:
    word = path.name.split(".", 1)[0]
    return int(word) if word.isdecimal() and len(word) == 8 else 0
