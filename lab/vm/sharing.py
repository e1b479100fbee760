"""Which directories the guest may write: where the verb's results go, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lab.vm.names import VmError

GUESTS_OWN: Final = tuple(map(Path, ("/run", "/dev", "/proc", "/sys")))
"""File systems that the guest has itself: what is there on this machine cannot be seen in it."""


def visible(path: Path, what: str) -> Path:
    """Return the resolved path.

    Raises:
        VmError: when the guest cannot see it.
    """
    place = path.resolve()
    for own in GUESTS_OWN:
        if place.is_relative_to(own):
            raise VmError(f"{what} {path}: a guest has a {own} of its own", "use another directory")
    return place


def shared(directory: Path, written: Iterable[Path]) -> list[Path]:
    """Return the directories to share: the working directory, and what else is written to.

    A path that does not exist yet is made by the verb, so its nearest ancestor is shared; one that
    exists is shared with its parent, since a report is listed in an index beside it.

    Args:
        directory: the working directory.
        written: paths that the verb writes, absolute or relative to it.

    Raises:
        VmError: for a path that the guest cannot see, or a directory that holds the whole system.
    """
    found: list[Path] = []
    for path in (directory, *(directory / one for one in written)):
        place = visible(path, "directory" if path is directory else "output")
        if path is not directory:
            place = place.parent
            while not place.is_dir():
                place = place.parent
        if any(place.is_relative_to(one) for one in found):
            continue
        if place == Path("/"):
            if path is directory:
                continue  # nothing is written here unless it is named
            raise VmError(f"output {path}: the root directory is not shared", "use one below it")
        found = [one for one in found if not one.is_relative_to(place)] + [place]
    return found
