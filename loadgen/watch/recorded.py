"""Reads a recording back, whole or cut, as far as it can be read."""

from __future__ import annotations

import math
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from loadgen.files import split_lines
from loadgen.watch.courses import Boiled, Boiler
from loadgen.watch.recorder import RecordingError
from loadgen.watch.recording import (
    CLOSED,
    LARGEST_SEGMENT,
    MOMENTS,
    OPEN,
    SEGMENTS,
    Moment,
    pieces,
)

_CHUNK: Final = 1 << 16
_MOST_BYTES: Final = 2 * LARGEST_SEGMENT
"""Of one segment, uncompressed."""
_MOST_SEGMENTS: Final = 100_000
_MOST_MOMENTS: Final = 4000


def is_recording(directory: Path) -> bool:
    """Return whether a directory looks like one that `loadgen watch --out` made."""
    return (directory / SEGMENTS).is_dir()


def read(directory: Path) -> Boiled:
    """Read a recording.

    Raises:
        RecordingError: when it holds nothing that can be read.
    """
    boiler = Boiler()
    try:
        found = sorted(path for path in (directory / SEGMENTS).iterdir() if _ours(path))
    except OSError as error:
        raise RecordingError(f"cannot read {directory}: {error.strerror}") from None
    for path in found[:_MOST_SEGMENTS]:
        for piece in pieces(_lines(path)):
            boiler.take(piece)
    boiled = boiler.found
    if boiled.head is None or not math.isfinite(boiled.began):
        raise RecordingError(f"{directory} holds no reading that can be read")
    # Moments whose segments have gone; the others are in both.
    known = {(moment.time, moment.name, moment.text) for moment in boiled.moments}
    kept = directory / MOMENTS
    if _ours(kept):
        for piece in pieces(_lines(kept)):
            if len(boiled.moments) >= _MOST_MOMENTS:
                break
            if isinstance(piece, Moment) and (piece.time, piece.name, piece.text) not in known:
                boiled.moments.append(piece)
    boiled.moments.sort(key=lambda moment: moment.time)
    return boiled


def _ours(path: Path) -> bool:
    """Return whether it is a plain file with a name and a size of ours: no link, device or pipe."""
    if not path.name.endswith((OPEN, CLOSED)):
        return False
    with suppress(OSError):
        found = path.lstat()
        return stat.S_ISREG(found.st_mode) and found.st_size <= _MOST_BYTES
    return False


def _bytes(path: Path) -> Iterator[bytes]:
    """Return a file's bytes, uncompressed, up to where it ends or is damaged."""
    unpack = zlib.decompressobj(wbits=31) if path.name.endswith(CLOSED) else None
    total = 0
    with suppress(OSError, zlib.error), path.open("rb") as file:
        while total < _MOST_BYTES and (data := file.read(_CHUNK)):
            if unpack is None:
                total += len(data)
                yield data
                continue
            # A few bytes may stand for a great many: what comes out is bounded too.
            while data and total < _MOST_BYTES:
                out = unpack.decompress(data, _CHUNK)
                data = unpack.unconsumed_tail
                total += len(out)
                yield out


def _lines(path: Path) -> Iterator[bytes]:
    return (line + b"\n" for line in split_lines(_bytes(path)))
