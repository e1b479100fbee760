"""The journal: which of the host's settings a lab has changed, and what they were before.

It is written, whole and through to the disk, before the first value is, and removed after the last
one is back. Restoring writes every old value whatever is in force by then: the kernel rounds some
values, so what a lab wrote cannot be recognised for sure.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from lab.sysctl.names import to_path
from lab.sysctl.values import same_value

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class JournalError(Exception):
    """A journal that cannot be read, or values that cannot be put back. One line, with the remedy."""


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One setting that an arm changes."""

    key: str
    """Dotted."""
    before: str
    asked: str


class Journal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds."""

    schema: Literal["churnlab.host/1"] = "churnlab.host/1"
    boot: str
    """The kernel's boot_id: values of another boot are gone anyway."""
    pid: int
    """The lab's."""
    changes: list[Change]
    """In the order of writing."""


def boot_id() -> str:
    """Return what tells this boot of this machine from all others."""
    return _BOOT.read_text().strip()


def _state() -> Path:
    return Path(os.environ.get("CHURNLAB_STATE", "/var/lib/churnlab"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the journal and the settings are."""

    folder: Path = field(default_factory=_state)
    root: Path = Path("/proc/sys")

    @property
    def file(self) -> Path:
        """The journal itself."""
        return self.folder / "host-sysctls.json"

    @property
    def lock(self) -> Path:
        """Held by a lab that changes settings, and by its guardian until they are back."""
        return self.folder / "lock"

    def get(self, key: str) -> str:
        """Return a setting's value, words parted by single blanks.

        Raises:
            OSError: when there is no such setting.
        """
        return " ".join((self.root / to_path(key)).read_text().split())

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


def read(place: Place) -> Journal | None:
    """Return the journal of this boot; None when nothing is pending.

    Raises:
        JournalError: when the file cannot be read or understood.
    """
    try:
        journal = msgspec.json.decode(place.file.read_bytes(), type=Journal)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{place.file}: {error.strerror}; run as root") from None
    except msgspec.DecodeError as error:
        raise JournalError(
            f"{place.file} is damaged ({error}): compare the host's settings with what they should "
            "be, then delete it"
        ) from None
    return journal if journal.boot == boot_id() else None


def write(place: Place, journal: Journal) -> None:
    """Write the journal, whole and through to the disk.

    Raises:
        OSError: when it cannot be.
    """
    temporary = place.file.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(journal), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(place.file)
    _sync(place.folder)


def _sync(folder: Path) -> None:
    """Make sure that a file's new name has reached the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def restore(place: Place) -> list[str]:
    """Put every value of the journal back, last one first, and remove the journal.

    Returns:
        One line for each setting, for people.

    Raises:
        JournalError: when a value could not be put back; the journal stays then. The others are.
    """
    journal = read(place)
    done, problems = [], []
    for change in reversed(journal.changes if journal else []):
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
            f"cannot put back {', '.join(problems)}; run as root on the host itself: lab restore"
        )
    with suppress(FileNotFoundError):
        place.file.unlink()
    return done
