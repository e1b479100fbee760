"""The files of shards, read back: digests, made where there is none, and what merging them gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from loadgen.files import GROWING, ReadError, read_record, write_whole
from loadgen.fleet import part as digests
from loadgen.fleet.member import Member
from loadgen.fleet.merge import Merged, Merger
from loadgen.fleet.part import Part
from loadgen.run import rundir, stored

DIGEST: Final = "digest.json"
_GROWING: Final = (rundir.SAMPLES, rundir.HISTOGRAMS)


def digest(path: Path) -> Part:
    """Return a run directory's digest: the one that is there, if it is of these very files.

    Raises:
        StoredError: when there is no readable `run.json`.
    """
    try:
        found = read_record(path / DIGEST, Part, GROWING)
    except ReadError:
        found = None
    if found is not None and found.sizes == _sizes(path):
        return found
    return digests.of(stored.read(path), _sizes(path))


def write_digest(path: Path) -> None:
    """Make a run directory's digest and write it there.

    Raises:
        StoredError: when there is no readable `run.json`.
        OSError: when it cannot be written.
    """
    write_whole(path / DIGEST, msgspec.json.encode(digest(path)))


def _sizes(path: Path) -> dict[str, int]:
    """Return how long the growing files are; a digest of shorter ones is out of date."""
    return {
        name: (path / name).stat().st_size if (path / name).is_file() else 0 for name in _GROWING
    }


def merge_directories(paths: Sequence[Path]) -> Merged:
    """Add up run directories of shards of one run, made by hand.

    Raises:
        StoredError: for a directory that holds no run.
        MergeError: when they are not shards of the same run, or one is there twice.
    """
    first = digest(paths[0])
    merger = Merger(first.about.config.shard[1])
    for path in paths:
        found = first if path == paths[0] and first else digest(path)
        merger.add(
            Member(
                index=found.about.config.shard[0],
                node=found.about.environment.host or "",
                part=found,
                intervals=rundir.logged_intervals(path),
                directory=str(path),
            )
        )
    return merger.result()


def merge_members(
    members: Iterable[Member], count: int, expressions: Sequence[str] | None = None
) -> Merged:
    """Add up members, one at a time so that only one is in memory.

    Raises:
        MergeError: when nothing of any of them is there, or they are not of one run.
    """
    merger = Merger(count, expressions)
    for member in members:
        merger.add(member)
    return merger.result()
