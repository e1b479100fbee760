"""Control's side of the way home: takes in shards, asks their clocks, writes what they send.

Bounded on every side: who has not shown the key within `GREETING` seconds is dropped, and at most
`_STRANGERS` at once are listened to; a shard has one place, one connection and the files of a run
directory, of `MOST` bytes together.
"""

from __future__ import annotations

import errno
import itertools
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from loadgen import __version__
from loadgen.accounting.messages import Totals
from loadgen.errors import Exit
from loadgen.files import write_whole
from loadgen.fleet import clocks, wire
from loadgen.fleet.clocks import Answer
from loadgen.fleet.link import Link, greet_shard
from loadgen.fleet.record import Fleet, Seat
from loadgen.fleet.wire import (
    Append,
    Done,
    Go,
    Hello,
    Kept,
    Ping,
    Pong,
    Progress,
    Ready,
    Refused,
    Stop,
    TurnedAway,
    Welcome,
    Whole,
    WireError,
)

MOST: Final = 8 << 30
"""Bytes that one shard may leave: a day's run at ten samples a second."""
ENDS: Final = frozenset({Exit.PASS, Exit.INVALID, Exit.FAILED, Exit.INTERRUPTED})
"""Exit codes of runs that have results."""
_STRANGERS: Final = 64
_ASKED: Final = 20
"""Questions for the time before the start."""
_ANSWERED: Final = 10
"""Answers to them that are waited for."""
_OFTEN: Final = 0.05
_SELDOM: Final = 1.0
_RECENT: Final = 10
"""Answers, one a second, from which the last reading of a clock is taken."""


_E = TypeVar("_E", bound=BaseException)


class Place:
    """One seat while the run goes on."""

    def __init__(self, seat: Seat, folder: Path) -> None:
        self.seat = seat
        self._root = folder
        self.link: Link | None = None
        self.ready = False
        self.left_out = False
        """The run goes on without it."""
        self.preparing = 0.0
        self.refused = ""
        self.done: Done | None = None
        self.before: Answer | None = None
        self.answers = 0
        self.recent: deque[Answer] = deque(maxlen=_RECENT)
        self.t = 0.0
        self.totals = Totals()
        self.taken = 0
        """Bytes, for the bound."""

    @property
    def fit(self) -> bool:
        """Whether the shard can begin, and its clock is known."""
        return self.ready and self.answers >= _ANSWERED

    @property
    def folder(self) -> Path:
        """Its run directory."""
        return self._root / self.seat.directory

    def have(self) -> dict[str, int]:
        """Return how long its growing files are here."""
        return {
            name: (self.folder / name).stat().st_size
            for name in wire.GROWING
            if (self.folder / name).is_file()
        }

    def append(self, message: Append) -> None:
        """Write more of a growing file; what is here already is passed over.

        Raises:
            WireError: for a gap, or another file.
            OSError: when it cannot be written.
        """
        if message.file not in wire.GROWING:
            raise WireError(f"{message.file!r} is not a file that grows")
        path = self.folder / message.file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            here = file.tell()
            if message.offset > here:
                raise WireError(
                    f"{message.file} goes on at {message.offset:,}, but ends at {here:,}"
                )
            fresh = message.data[here - message.offset :]
            self._count(len(fresh))
            file.write(fresh)

    def replace(self, message: Whole) -> None:
        """Write a file that is replaced, whole or not at all.

        Raises:
            WireError: for a name that no run directory has.
            OSError: when it cannot be written.
        """
        if not wire.allowed_file(message.file) or message.file in wire.GROWING:
            raise WireError(f"{message.file!r} is no file of a run directory")
        path = self.folder / message.file
        path.parent.mkdir(parents=True, exist_ok=True)
        self._count(len(message.data))
        write_whole(path, message.data)

    def _count(self, number: int) -> None:
        self.taken += number
        if self.taken > MOST:
            raise WireError(f"more than {MOST:,} bytes")

    def complete(self, done: Done) -> bool:
        """Whether every file is here at its full length."""
        return all(
            wire.allowed_file(name)
            and (self.folder / name).is_file()
            and (self.folder / name).stat().st_size == size
            for name, size in done.sizes.items()
        )


class Collector:
    """Takes in a fleet's shards.

    Args:
        key: the run's.
        fleet: the run.
        folder: the fleet's directory.
    """

    def __init__(self, key: bytes, fleet: Fleet, folder: Path) -> None:
        self._key = key
        self.fleet = fleet
        self.places = [Place(seat, folder) for seat in fleet.seats]
        self._by_seat = {place.seat.seat: place for place in self.places}
        self._strangers = trio.CapacityLimiter(_STRANGERS)
        self.turned_away: list[str] = []
        """Why, for each that held the key and found no place; the last few."""
        self.broken: OSError | None = None
        """Why files cannot be written here."""

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; report the port.

        Raises:
            OSError: when the port cannot be had.
        """
        listeners = await trio.open_tcp_listeners(self.fleet.port, host=None, backlog=1024)
        # One family after the other would give two ports where any will do; IPv4 comes first.
        listener, *others = listeners
        for other in others:
            if self.fleet.port == 0:
                await other.aclose()
        port: int = listener.socket.getsockname()[1]
        used = listeners if self.fleet.port else [listener]
        task_status.started(port)
        await trio.serve_listeners(self._take, used)

    # --- one connection ---------------------------------------------------------------------

    async def _take(self, stream: trio.SocketStream) -> None:
        """Serve one connection; whatever it does wrong ends it and nothing else."""
        try:
            async with self._strangers:
                link = await greet_shard(stream, self._key)
        except (WireError, trio.TooSlowError, trio.BrokenResourceError):
            await trio.aclose_forcefully(stream)
            return
        place: Place | None = None
        try:
            place = await self._seat(link)
            if place is not None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._ask_clock, link)
                    await self._listen(place, link)
                    nursery.cancel_scope.cancel()
        except* WireError as group:
            if place is not None:
                error = leaf(group)
                place.seat.said = f"it does not keep to the protocol: {error}"
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except* OSError as group:
            self.broken = leaf(group)
        finally:
            if place is not None and place.link is link:
                place.link = None
            await link.aclose()

    async def _seat(self, link: Link) -> Place | None:
        """Give a shard its place and its orders, or say why not."""
        body = await link.receive()
        hello = None if body is None else wire.from_shard(body)
        if not isinstance(hello, Hello):
            return None
        place = self._by_seat.get(hello.seat)
        reason = ""
        if hello.version != __version__:
            reason = (
                f"its churnlab is {hello.version}, control's {__version__}: build the image anew"
            )
        elif place is None:
            reason = f"there is no place {hello.seat!r} in this fleet"
        elif place.seat.instance not in {"", hello.instance} and (
            self.fleet.start is not None or place.link is not None
        ):
            reason = f"{place.seat.label} is another process, and its place is kept for that one"
        if reason or place is None:
            self.turned_away = [*self.turned_away[-7:], f"{hello.node or hello.seat}: {reason}"]
            await link.send(TurnedAway(reason))
            return None
        if place.seat.instance != hello.instance:
            if self.fleet.start is not None or place.left_out:
                reason = "the run has begun without it"
                self.turned_away = [*self.turned_away[-7:], f"{hello.node}: {reason}"]
                await link.send(TurnedAway(reason))
                return None
            place.seat.instance, place.seat.node = hello.instance, place.seat.node or hello.node
            place.ready, place.before, place.refused = False, None, ""
        if place.link is not None:
            await place.link.aclose()
        place.link = link
        await link.send(
            Welcome(place.seat.index, len(self.places), self.fleet.arguments, place.have())
        )
        return place

    async def _listen(self, place: Place, link: Link) -> None:
        """Take in everything that one shard sends."""
        while (body := await link.receive()) is not None:
            match wire.from_shard(body):
                case Ready(preparing):
                    place.ready, place.preparing = True, preparing
                case Refused(said):
                    place.refused = said or "it gave no reason"
                case Pong(asked, monotonic, wall):
                    self._note_clock(place, asked, monotonic, wall)
                case Progress(t, totals):
                    place.t, place.totals = t, totals
                case Append() as more:
                    place.append(more)
                case Whole() as whole:
                    place.replace(whole)
                case Done() as done:
                    if not place.complete(done):
                        raise WireError("it says that it is done, and its files are not all here")
                    place.done = done
                    if done.code not in ENDS:
                        place.seat.said = f"its loadgen ended with {done.code}: {done.said}"
                    place.seat.home = True
                    await link.send(Kept())
                case Hello():
                    raise WireError("it introduces itself twice")

    async def _ask_clock(self, link: Link) -> None:
        """Ask a shard for the time: often until the start, then once a second, which keeps the line."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for number in itertools.count():
                await link.send(Ping(time.monotonic()))
                often = number < _ASKED and self.fleet.start is None
                await trio.sleep(_OFTEN if often else _SELDOM)

    def _note_clock(self, place: Place, asked: float, monotonic: float, wall: float) -> None:
        answered = time.monotonic()
        # Control's wall clock at the middle of the round trip, when the shard read its own.
        middle = time.time() - (answered - asked) / 2
        answer = Answer(asked, answered, monotonic, wall - middle)
        place.answers += 1
        if self.fleet.start is None:
            place.before = clocks.best([answer, *([place.before] if place.before else [])])
        else:
            place.recent.append(answer)

    # --- all of them ------------------------------------------------------------------------

    async def go(self, at: float) -> None:
        """Tell everybody to begin at a moment of control's CLOCK_MONOTONIC."""
        async with trio.open_nursery() as nursery:
            for place in self.places:
                if place.before is not None and not place.left_out:
                    nursery.start_soon(self._tell, place, Go(at + place.before.shift))

    async def leave_out(self, place: Place) -> None:
        """Keep a place empty: whoever has half taken it, or comes for it later, has no part."""
        place.left_out, place.seat.instance = True, ""
        await self._tell(place, Stop())

    async def stop(self) -> None:
        """Tell everybody to end."""
        async with trio.open_nursery() as nursery:
            for place in self.places:
                nursery.start_soon(self._tell, place, Stop())

    async def _tell(self, place: Place, message: wire.ToShard) -> None:
        link = place.link
        if link is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, WireError):
                await link.send(message)

    def note_clocks(self) -> None:
        """Write what is known of the clocks to the seats."""
        for place in self.places:
            if place.before is not None:
                place.seat.clock = clocks.clock(place.before, clocks.best(place.recent))


def save(fleet: Fleet, path: Path) -> None:
    """Write `fleet.json`, whole or not at all.

    Raises:
        OSError: when it cannot be written.
    """
    write_whole(path, msgspec.json.format(msgspec.json.encode(fleet), indent=2) + b"\n")


def leaf(group: BaseExceptionGroup[_E]) -> _E:
    """Return the first error in a group."""
    first = group.exceptions[0]
    return leaf(first) if isinstance(first, BaseExceptionGroup) else first


def reason_of(error: OSError) -> str:
    """Return an error of the file system in the system's words."""
    return error.strerror or errno.errorcode.get(error.errno or 0, "unknown error")
