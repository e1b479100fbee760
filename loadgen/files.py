"""Files: written whole or not at all, and read as what anybody may have put there.

A directory of results travels: it comes out of a pipeline's artifacts, from a colleague, out of a bug
report. So what is read from one is a regular file of bounded size, decoded into a record that says
what each field may be; and what is written into one replaces a name there, and never goes through a
link to somewhere else.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, TypeVar

import msgspec

from loadgen.errors import ChurnlabError, Exit
from loadgen.units import format_size

DOCUMENT: Final = 8 << 20
"""Bytes of a JSON document that is read; ours have up to a few hundred thousand."""
GROWING: Final = 1 << 30
"""Bytes of a file of lines that is read: some six hours of samples, as runs write them."""
LONGEST_LINE: Final = 1 << 20
"""Bytes of a line that is read; ours are a few thousand."""
_CHUNK: Final = 1 << 18
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""A file that cannot grow: the disk is full, or a quota or the shell's `ulimit -f` is reached."""

_SCARCE: Final = 64 << 10
"""Bytes left, below which a disk counts as full for whoever could not write there."""

T = TypeVar("T")


class ReadError(ChurnlabError):
    """A file that cannot be read, or that holds what cannot be.

    Args:
        path: the file.
        reason: goes on from its name: `is missing`.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.args = path, reason
        self.reason = reason


class MissingError(ReadError):
    """A file that is not there."""


class WriteError(ChurnlabError):
    """A file or a folder that cannot be written."""


class NoRoomError(WriteError):
    """A file that found no room on its disk. What was measured is shown all the same."""

    code = Exit.INVALID


@contextmanager
def writing(path: object) -> Iterator[None]:
    """Name the file when what the block writes cannot be written.

    It stands around the writing and nothing else: an OSError of another origin, such as a process
    that cannot be started, is not a file that cannot be written.

    Args:
        path: what is written, for an error that names no file itself.

    Raises:
        WriteError: for an OSError of the block; but a reader that went away stays what it is.
        NoRoomError: when the disk is full.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritten(error, path) from error


def is_full(error: OSError) -> bool:
    """Return whether something could not be written for want of room."""
    return error.errno in _NO_ROOM


def no_room(path: Path, file: str = "") -> NoRoomError | None:
    """Return that a process which writes under `path` found no room there; None where there is some.

    Args:
        path: a folder.
        file: what it wrote there, for the message.
    """
    with suppress(OSError):
        free = os.statvfs(path)
        if free.f_bavail * free.f_frsize < _SCARCE:
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path / file))
            full = unwritten(error, path)
            assert isinstance(full, NoRoomError)
            return full
    return None


def unwritten(error: OSError, path: object) -> WriteError:
    """Return what to say of an OSError that came of writing `path`."""
    where = error.filename or path
    said = f"cannot write {where}: {error.strerror or error}"
    if not is_full(error):
        return WriteError(said)
    if error.filename or isinstance(path, Path):  # not of standard output
        with suppress(OSError):
            place = Path(str(where)).absolute()
            while not place.exists():
                place = place.parent
            free = os.statvfs(place)
            said += f", {format_size(free.f_bavail * free.f_frsize)} left"
    return NoRoomError(said, "make room, or write elsewhere")


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never half.

    rename(2) is atomic within a file system, so the new file is made beside the old one. Several
    processes may write the same path: each has a temporary file of its own, and the last one wins.
    The file gets the mode that open() would have given it. A link at `path` is replaced, not followed.

    Raises:
        OSError: naming `path`, when it cannot be written; no temporary file is left then.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_result(path: str | Path, data: bytes) -> None:
    """Write a file that the user named: whole or not at all, but a device or a pipe as it is.

    A link is followed: it is the user's own.

    Raises:
        WriteError: when it cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            with target.open("wb", buffering=0) as stream:
                write_all(stream, data)
        else:
            write_whole(target, data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritten(OSError(error.errno, error.strerror), Path(path)) from error


def check_results(*paths: str | Path | None) -> None:
    """Find out, before the work, whether `write_result` can write these; None and `-` are none.

    Nothing changes: a file is made beside the name, as it is for writing, and taken away again.

    Raises:
        WriteError: for the first that cannot be written.
    """
    for path in paths:
        if path is None or str(path) == "-":
            continue
        target = Path(os.path.realpath(path))
        try:
            with suppress(FileNotFoundError):
                kind = os.stat(target).st_mode  # noqa: PTH116 - Path's own swallows a name too long
                if stat.S_ISDIR(kind):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                if not stat.S_ISREG(kind):
                    continue  # opening a pipe is an event for its reader
            if not target.parent.is_dir():
                raise WriteError(f"cannot write {path}: there is no directory {Path(path).parent}")
            descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
            os.close(descriptor)
            Path(temporary).unlink()
        except OSError as error:
            raise unwritten(OSError(error.errno, error.strerror), Path(path)) from error


def write_all(stream: IO[bytes], data: bytes) -> None:
    """Write to an unbuffered file until all is written, or nothing more can be.

    write(2) writes less than it was given when the disk fills up, and fails only the next time.

    Raises:
        OSError: when something is left over.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


def inside(folder: Path, path: Path) -> bool:
    """Return whether a path lies in a folder once all links on its way are followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links that lead to themselves; a NUL in the name
        return False


def read_whole(path: Path, most: int = DOCUMENT) -> bytes:
    """Return what is in a file.

    Raises:
        ReadError: when it is no regular file, cannot be read, or is larger than `most` bytes.
    """
    with _opened(path, most) as stream:
        try:
            data = stream.read(most + 1)
        except OSError as error:
            raise ReadError(path, f"cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise ReadError(path, f"is larger than {format_size(most)}")
    return data


def last_byte(path: Path, most: int = GROWING) -> bytes:
    """Return the last byte of a file of lines; nothing where it is empty.

    Raises:
        ReadError: as `read_lines`.
    """
    with _opened(path, most) as stream:
        try:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 1))
            return stream.read(1)
        except OSError as error:
            raise ReadError(path, f"cannot be read: {error.strerror}") from None


def read_record(path: Path, kind: type[T], most: int = DOCUMENT) -> T:
    """Return the record that a JSON document holds.

    Raises:
        ReadError: when it cannot be read, or is no such record; the reason names the field.
    """
    data = read_whole(path, most)
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReadError(path, f"is cut off or damaged ({error})") from None
    except RecursionError:
        raise ReadError(path, "is cut off or damaged (nested too deeply)") from None


def read_lines(path: Path, most: int = GROWING) -> Iterator[bytes]:
    """Yield the lines of a file, the last one even where it does not end; overlong ones are left out.

    Raises:
        ReadError: when it is no regular file, cannot be read, or is larger than `most` bytes.
    """
    with _opened(path, most) as stream:
        yield from split_lines(_chunks(stream, path))


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of what comes in pieces, the last one even where it does not end.

    Lines that are longer than `LONGEST_LINE` are left out, and take no more memory than that.
    """
    rest, overlong = b"", False
    for data in chunks:
        *lines, rest = (rest + data).split(b"\n")
        if overlong and lines:
            del lines[0]
            overlong = False
        yield from (line for line in lines if len(line) <= LONGEST_LINE)
        if overlong or len(rest) > LONGEST_LINE:
            rest, overlong = b"", True
    if rest:
        yield rest


def _chunks(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    try:
        while data := stream.read(_CHUNK):
            yield data
    except OSError as error:
        raise ReadError(path, f"cannot be read: {error.strerror}") from None


@contextmanager
def _opened(path: Path, most: int) -> Iterator[IO[bytes]]:
    """Open a regular file to be read; a device is not even opened, for opening may be an act."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ReadError(path, "is not a regular file")
        if found.st_size > most:
            raise ReadError(path, f"is larger than {format_size(most)}")
        # Were it a pipe by now, opening it would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise MissingError(path, "is missing") from None
    except OSError as error:
        raise ReadError(path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ReadError(path, "cannot be: a NUL in the name") from None
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ReadError(path, "is not a regular file")
        yield stream
