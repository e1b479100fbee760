"""What came home of a fleet's run, as a report wants it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from loadgen.files import MissingError, ReadError, inside, read_record
from loadgen.fleet import clocks, store
from loadgen.fleet.member import Member
from loadgen.fleet.record import FILE, Fleet
from loadgen.report import page
from loadgen.run import rundir
from loadgen.run.stored import Salvaged, StoredError, salvage
from loadgen.summary import Notice


def read_fleet(folder: Path) -> Fleet | None:
    """Return the record of a fleet's directory; None where it is none.

    Raises:
        StoredError: when the record is damaged.
    """
    try:
        return read_record(folder / FILE, Fleet)
    except MissingError:
        return None
    except ReadError as error:
        raise StoredError(str(error)) from None


def gathered(fleet: Fleet, folder: Path) -> Salvaged:
    """Add up what is in a fleet's directory.

    Raises:
        MergeError: when nothing of any shard is there.
    """
    merged = store.merge_members(_members(fleet, folder), len(fleet.seats), fleet.thresholds)
    notices = [*merged.summary.warnings, *_notices(fleet)]
    summary = msgspec.structs.replace(merged.summary, warnings=notices)
    missing = [
        f"{note.directory or note.node}: {note.said}" for note in summary.shards if note.said
    ]
    return Salvaged(folder, merged.about, summary, merged.samples, merged.intervals, missing)


def write_pages(found: Salvaged) -> None:
    """Write the pages of shards that did not live to write their own.

    Raises:
        OSError: when one cannot be written.
    """
    for note in found.summary.shards:
        path = found.path / note.directory
        if not inside(found.path, path):
            continue
        if note.directory and (note.state != "whole" or not (path / page.PAGE).is_file()):
            page.write(salvage(path))


def _members(fleet: Fleet, folder: Path) -> Iterator[Member]:
    for seat in fleet.seats:
        try:
            part = store.digest(folder / seat.directory)
        except StoredError:
            part = None
        yield Member(
            index=seat.index,
            node=seat.node,
            part=part,
            intervals=rundir.logged_intervals(folder / seat.directory),
            directory=seat.directory if part is not None else "",
            said=seat.said or ("" if seat.home else "its end did not come home"),
            clock=seat.clock,
        )


def _notices(fleet: Fleet) -> list[Notice]:
    """Return what is to be said of the fleet and of no shard: how it was ended, and its clocks."""
    known = [(seat.label, seat.clock) for seat in fleet.seats if seat.clock is not None]
    found = clocks.disagreements(known)
    if fleet.aborted_by:
        found.append(("aborted", f"the run was ended by {fleet.aborted_by!r}", "see the threshold"))
    elif fleet.interrupted:
        found.append(("interrupted", "the run was interrupted", "let it run to its end"))
    return [Notice(code=code, text=text, remedy=remedy) for code, text, remedy in found]
