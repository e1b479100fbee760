"""The journal: which of the host's settings a lab has changed, and what they were before.

It is for the case that lab and guardian are both dead: while either lives, it knows the values from
memory and does not ask a file. It is written, whole and through to the disk, before the first value
is, and removed after the last one is back.

A damaged disk or a careless hand must not be the end of it. So there are two copies, a setting is
one line in each, and every line is complete in itself and carries a check sum: whatever line is
intact in either copy is put back, and how many are not is said.

Restoring writes every old value whatever is in force by then: the kernel rounds some values, so what
a lab wrote cannot be recognised for sure.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from lab.sysctl.names import to_path
from lab.sysctl.values import same_value
from loadgen.errors import ChurnlabError
from loadgen.fleet.owner import boot_id
from loadgen.units import spaced

_MOST: Final = 1 << 20
"""Bytes of a copy that are read: a catalogue's worth of settings is a hundredth of that."""


class JournalError(ChurnlabError):
    """A journal that cannot be read, or values that cannot be put back."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that an arm changes."""

    key: str
    """Dotted."""
    before: str
    asked: str


class _Line(Change, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of the journal: a change, and what belongs to all of them."""

    boot: str
    pid: int
    number: int
    """From 0, in the order of writing."""
    of: int
    """How many lines there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What is pending."""

    boot: str
    """The kernel's boot_id: values of another boot are gone anyway."""
    pid: int
    """The lab's."""
    changes: list[Change]
    """In the order of writing."""
    lost: int = 0
    """Changes of which neither copy has an intact line."""


def _state() -> Path:
    return Path(os.environ.get("CHURNLAB_STATE", "/var/lib/churnlab"))


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """Where the journal and the settings are."""

    folder: Path = field(default_factory=_state)
    root: Path = Path("/proc/sys")

    @property
    def files(self) -> tuple[Path, Path]:
        """The journal's two copies."""
        return (self.folder / "host-sysctls.jsonl", self.folder / "host-sysctls.copy.jsonl")

    @property
    def lock(self) -> Path:
        """Held by a lab that changes settings, and by its guardian until they are back."""
        return self.folder / "lock"

    def get(self, key: str) -> str:
        """Return a setting's value, words parted by single blanks.

        Raises:
            OSError: when there is no such setting.
        """
        return spaced((self.root / to_path(key)).read_text())

    def set(self, key: str, value: str) -> None:
        """Write a setting's value.

        Raises:
            OSError: the kernel's answer.
        """
        descriptor = os.open(self.root / to_path(key), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{value}\n".encode())
        finally:
            os.close(descriptor)


def read(place: JournalPlace) -> Journal | None:
    """Return the journal of this boot; None when nothing is pending.

    Raises:
        JournalError: when a copy cannot be opened, or neither has a line that is intact.
    """
    copies = [data for path in place.files if (data := _bytes_of(path)) is not None]
    if not copies:
        return None
    found: dict[int, _Line] = {}
    for line in (line for data in copies for line in _intact(data)):
        found.setdefault(line.number, line)
    if not found:
        raise JournalError(
            f"{place.files[0]} and its copy are damaged: no line of them can be read",
            "compare the host's settings with what they should be, then delete both",
        )
    lines = [found[number] for number in sorted(found) if found[number].boot == boot_id()]
    if not lines:
        return None
    return Journal(
        boot=lines[0].boot,
        pid=lines[0].pid,
        changes=[Change(key=one.key, before=one.before, asked=one.asked) for one in lines],
        lost=max(one.of for one in lines) - len(lines),
    )


def _bytes_of(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}", "run as root") from None


def _intact(data: bytes) -> Iterator[_Line]:
    """Yield the lines of a copy that are as they were written."""
    for text in data.split(b"\n"):
        body, _, check = text.rpartition(b" ")
        if check == _check(body):
            with suppress(msgspec.DecodeError):
                yield msgspec.json.decode(body, type=_Line)


def _check(body: bytes) -> bytes:
    return f"{zlib.crc32(body):08x}".encode()


def write(place: JournalPlace, journal: Journal) -> None:
    """Write both copies, whole and through to the disk.

    Raises:
        OSError: when one cannot be; the other may have been.
    """
    data = bytearray()
    for number, change in enumerate(journal.changes):
        line = _Line(
            key=change.key,
            before=change.before,
            asked=change.asked,
            boot=journal.boot,
            pid=journal.pid,
            number=number,
            of=len(journal.changes),
        )
        body = msgspec.json.encode(line)
        data += body + b" " + _check(body) + b"\n"
    for path in place.files:
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    _sync(place.folder)


def _sync(folder: Path) -> None:
    """Make sure that a file's new name has reached the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def restore(place: JournalPlace) -> list[str]:
    """Put back what the journal holds; see `put_back`.

    Raises:
        JournalError: also when part of the journal is lost; the intact part is back then, and the
            error says what that was. The journal goes: nothing more can be read from it.
    """
    journal = read(place)
    if journal is None:
        _remove(place)
        return []
    done = put_back(place, journal.changes)
    if journal.lost:
        raise JournalError(
            f"the journal {place.files[0]} was damaged: {journal.lost} of "
            f"{journal.lost + len(journal.changes)} settings are not in it any more; "
            f"put back: {', '.join(done)}",
            "compare the other settings of the arm's tuning with what the host should have",
        )
    return done


def put_back(place: JournalPlace, changes: Sequence[Change]) -> list[str]:
    """Write every old value back, last one first, and remove the journal.

    Returns:
        One line for each setting, for people.

    Raises:
        JournalError: when a value could not be put back; the journal stays then. The others are.
    """
    done, problems = [], []
    for change in reversed(changes):
        try:
            found = place.get(change.key)
            if not same_value(change.key, change.before, found):
                place.set(change.key, change.before)
            now = place.get(change.key)
        except OSError as error:
            problems.append(f"{change.key} = {change.before} ({error.strerror})")
            continue
        if same_value(change.key, change.before, now):
            done.append(f"{change.key} = {now} (was {found})")
        else:
            problems.append(f"{change.key} = {change.before} (it shows {now})")
    if problems:
        raise JournalError(
            f"cannot put back {', '.join(problems)}", "run as root on the host itself: lab restore"
        )
    _remove(place)
    return done


def _remove(place: JournalPlace) -> None:
    for path in place.files:
        with suppress(FileNotFoundError):
            path.unlink()
