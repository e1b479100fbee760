"""Conducts a fleet's run: launch, wait for all, agree on a start, bring everything home, add up.

Control knows nothing of engines: a `Launcher` starts the shards, tells what has become of them, and
removes what it made. Where others start them, as `kubectl` does, the launcher has nothing to do.
"""

from __future__ import annotations

import resource
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import trio

from loadgen import thresholds
from loadgen.accounting import sums
from loadgen.fleet import clocks, wire
from loadgen.fleet.collector import Collector, Place, reason_of, save
from loadgen.fleet.errors import FleetError
from loadgen.fleet.record import FILE, Fleet
from loadgen.fleet.shard import HOME, JOIN

KEY_FILE: Final = ".fleet.key"
LEAD: Final = 3.0, 30.0
"""Least and most seconds from the agreement on a start to the start: loadgen must be up by then."""
_SLOWER: Final = 3.0
"""How many times as long as its shard process a loadgen may take to come up."""
_LOOK: Final = 0.05
_ASK_ENGINE: Final = 0.5
_MARGIN: Final = 5.0
"""Seconds beyond a shard's longest life after which control waits for it no more."""


class Launcher(Protocol):
    """Starts a fleet's shards somewhere. Its calls block."""

    def launch(self, fleet: Fleet, key: bytes) -> None:
        """Start one shard for each seat; they find control at the fleet's host and port.

        Raises:
            FleetError: when it cannot be done.
        """

    def problems(self) -> dict[str, str]:
        """Return what has happened, by seat, to shards that will not come (back)."""

    def remove(self) -> None:
        """Remove whatever was made for the run; what has gone already is fine."""


class Nobody:
    """The launcher where others start the shards."""

    def launch(self, fleet: Fleet, key: bytes) -> None:
        """Nothing to do."""

    def problems(self) -> dict[str, str]:
        """Nothing is known."""
        return {}

    def remove(self) -> None:
        """Nothing to do."""


Show = Callable[[Collector, float | None], None]
"""Called some times a second with the collector and the run's time, None before its start."""
Say = Callable[[str], None]
"""Tells the user one line."""


class Conductor:
    """Conducts one run of a fleet.

    Args:
        fleet: the run; its record is kept in `folder`.
        key: of the run.
        folder: the fleet's directory.
        launcher: starts the shards.
        show: shows how the run goes.
        say: tells the user one line.
        patience: seconds that shards may take to come.
    """

    def __init__(
        self,
        fleet: Fleet,
        key: bytes,
        folder: Path,
        launcher: Launcher,
        *,
        show: Show,
        say: Say,
        patience: float = JOIN,
    ) -> None:
        self.fleet = fleet
        self._key = key
        self._folder = folder
        self._launcher = launcher
        self._show = show
        self._say = say
        self._patience = patience
        self._collector = Collector(key, fleet, folder)
        self._interrupts = 0
        self._gates = [thresholds.parse_threshold(text) for text in fleet.thresholds]
        self._ask_at = 0.0
        self._problems: dict[str, str] = {}

    @property
    def interrupted(self) -> bool:
        """Whether the user ended it."""
        return self._interrupts > 0

    async def run(self) -> None:
        """Bring a run home, from its launch on or, where it has begun, from where it is.

        Raises:
            FleetError: when it cannot begin, or its files cannot be written.
        """
        _raise_file_limit()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey_signals)
                try:
                    self.fleet.port = await nursery.start(self._collector.serve)
                except OSError as error:
                    raise FleetError(
                        f"cannot listen on port {self.fleet.port}: {reason_of(error)}",
                        "give another one with --collector",
                    ) from None
                try:
                    if self.fleet.start is None:
                        await self._begin()
                    await self._bring_home()
                    await self._collector.stop()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.to_thread.run_sync(self._launcher.remove)
                nursery.cancel_scope.cancel()
        except* FleetError as group:
            raise _first(group) from None
        self._end()

    async def _obey_signals(self) -> None:
        """On the first Ctrl-C end the run in good order, on the second do not wait for it."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self._interrupts += 1
                await self._collector.stop()

    # --- before the start -------------------------------------------------------------------

    async def _begin(self) -> None:
        self._save()
        await trio.to_thread.run_sync(partial(self._launcher.launch, self.fleet, self._key))
        await self._gather()
        places = [place for place in self._collector.places if not place.left_out]
        least, most = LEAD
        slowest = max(place.preparing for place in places)
        lead = min(most, max(least, 1.0 + _SLOWER * slowest))
        self._say(_agreement(places, lead))
        at = time.monotonic() + lead
        self.fleet.start = time.time() + lead
        self._collector.note_clocks()
        self._save()
        await self._collector.go(at)

    async def _gather(self) -> None:
        """Wait until every shard is there and ready, and its clock is known; not for ever."""
        deadline = trio.current_time() + self._patience
        places = self._collector.places
        while not all(place.fit for place in places):
            if self.interrupted:
                raise FleetError("interrupted before the start", "nothing was measured")
            for place in places:
                if place.refused:
                    raise FleetError(f"{place.seat.label} cannot run it: {place.refused}")
            await self._ask_engine()
            for place in places:
                if (why := self._problems.get(place.seat.seat)) is not None:
                    raise FleetError(f"{place.seat.label}: {why}")
            if self._collector.turned_away:
                raise FleetError(f"a shard was turned away: {self._collector.turned_away[-1]}")
            if trio.current_time() > deadline:
                await self._begin_without([place for place in places if not place.fit])
                return
            self._show(self._collector, None)
            await trio.sleep(_LOOK)

    async def _begin_without(self, late: list[Place]) -> None:
        """Leave out shards that have not come; one that comes now is turned away.

        Raises:
            FleetError: when there is nobody to begin with.
        """
        labels = [place.seat.label for place in late]
        said = f"did not come within {self._patience:g} s"
        line = f"{', '.join(labels[:5])}{' and more' * (len(late) > 5)} {said}"
        remedy = (
            f"make sure that shards reach this machine at {self.fleet.host}:{self.fleet.port} "
            "(--collector), or allow more time (--fleet-wait)"
        )
        if len(late) == len(self._collector.places):
            raise FleetError(line, remedy)
        for place in late:
            place.seat.said = f"it {said}"
            await self._collector.leave_out(place)
        self._say(f"warning: {line}: the run begins without and is partial; {remedy}")

    async def _ask_engine(self) -> None:
        """Ask the launcher what has become of the shards, twice a second."""
        if trio.current_time() < self._ask_at:
            return
        self._ask_at = trio.current_time() + _ASK_ENGINE
        with suppress(FleetError):  # an engine that does not answer just now says nothing new
            self._problems = await trio.to_thread.run_sync(self._launcher.problems)

    # --- the way home -----------------------------------------------------------------------

    async def _bring_home(self) -> None:
        """Wait until everything is here, or nothing more can come."""
        fleet = self.fleet
        assert fleet.start is not None
        deadline = fleet.start + fleet.seconds + HOME + _MARGIN
        while not all(self._settled(place, deadline) for place in self._collector.places):
            if self._collector.broken is not None:
                raise FleetError(
                    f"cannot write {self._folder}: {reason_of(self._collector.broken)}"
                )
            if self._interrupts > 1:
                break
            await self._ask_engine()
            if fleet.abort_on_fail and not fleet.aborted_by:
                await self._check_gates()
            self._show(self._collector, time.time() - fleet.start)
            await trio.sleep(_LOOK)

    def _settled(self, place: Place, deadline: float) -> bool:
        """Whether nothing more will come of a shard."""
        if place.seat.home or not place.seat.instance:  # all of it is here, or it never came
            return True
        if place.link is None and (why := self._problems.get(place.seat.seat)) is not None:
            place.seat.said = why
            return True
        if time.time() < deadline:
            return False
        place.seat.said = place.seat.said or (
            "it was not heard of again" if place.link is None else "it did not end in time"
        )
        return True

    async def _check_gates(self) -> None:
        """End the run as soon as a threshold on a count can no longer hold."""
        totals = sums.add(place.totals for place in self._collector.places)
        for gate in self._gates:
            if gate.already_failed(totals):
                self.fleet.aborted_by = gate.expression
                await self._collector.stop()
                return

    def _end(self) -> None:
        self._collector.note_clocks()
        self.fleet.ended, self.fleet.interrupted = True, self.interrupted
        self._save()
        with suppress(OSError):
            (self._folder / KEY_FILE).unlink()

    def _save(self) -> None:
        try:
            save(self.fleet, self._folder / FILE)
        except OSError as error:
            raise FleetError(f"cannot write {self._folder / FILE}: {reason_of(error)}") from None


def _first(group: BaseExceptionGroup[FleetError]) -> FleetError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _raise_file_limit() -> None:
    """Allow as many connections as the system does: each shard is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _agreement(places: list[Place], lead: float) -> str:
    """Return the line that says how well the clocks agree."""
    known = [
        (place.seat.label, clocks.clock(place.before, None)) for place in places if place.before
    ]
    label, worst = max(known, key=lambda pair: pair[1].uncertainty)
    ahead, offset = max(known, key=lambda pair: abs(pair[1].offset))
    return (
        f"{len(places)} shard{'s' * (len(places) > 1)}; clocks known to within {worst.uncertainty * 1e3:.2f} ms ({label}); "
        f"furthest from control's by {offset.offset * 1e3:+.2f} ms ({ahead}), corrected; "
        f"start in {lead:.1f} s"
    )


# --- afterwards -----------------------------------------------------------------------------


def new_key() -> bytes:
    """Return a run's key."""
    return secrets.token_bytes(wire.KEY)


def write_key(key: bytes, path: Path) -> None:
    """Write a key so that nobody else can read it.

    Raises:
        OSError: when it cannot be written.
    """
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    path.write_bytes(key)
