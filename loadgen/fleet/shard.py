"""A shard: the process that a fleet starts on each node.

It connects to control, is told its place and its orders, answers questions for the time, and runs
`loadgen run` as a process of its own from the agreed moment on. Meanwhile, twice a second, it sends
what the run directory has grown by. A connection that breaks is made anew, and goes on where control's
files end; nothing is deleted here before control says that it has all of it.

A shard never outlives its purpose: without control it waits `HOME` seconds, before the start or after
its run's end, and goes. So what a killed control machine leaves behind ends by itself.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Final

import msgspec
import trio

from loadgen import __version__, sample
from loadgen.accounting import sums
from loadgen.errors import Exit
from loadgen.fleet import store, wire
from loadgen.fleet.link import Link, greet_control
from loadgen.fleet.owner import start_of
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
from loadgen.report import page
from loadgen.run import rundir, stored
from loadgen.run.stored import StoredError

JOIN: Final = 60.0
"""Seconds that control may take to answer for the first time."""
HOME: Final = 8.0
"""Seconds without control that a shard waits before its start, and after its run has ended.

With what it takes to notice and to end, a shard is gone ten seconds after its run."""
_AGAIN: Final = 0.25
"""Seconds between two tries to connect."""
_EVERY: Final = 0.5
"""Seconds between two looks at the run directory."""
_SAID: Final = 500
_GENERATOR: Final = b'"role":"generator"'

Check = Callable[[Sequence[str]], None]
"""Raises ValueError for arguments of `loadgen run` that cannot be run here."""


class Shard:
    """One shard, from its first try to connect to its end.

    Args:
        key: the run's.
        control: where control listens.
        seat: which of the fleet's places this is.
        node: the node's name, for people.
        folder: the run directory is made here.
        check: of the arguments, before the start.
    """

    def __init__(
        self,
        key: bytes,
        control: tuple[str, int],
        *,
        seat: str,
        node: str,
        folder: Path,
        check: Check,
    ) -> None:
        self._key = key
        self._control = control
        self._hello = Hello(seat, node, secrets.token_hex(8), __version__)
        self._run = folder / "run"
        self._check = check
        self._link: Link | None = None
        self._orders: Welcome | None = None
        self._go = trio.Event()
        self._at = 0.0
        self._process: trio.Process | None = None
        self._over = trio.Event()
        self._done: Done | None = None
        self._ended = 0.0
        self._code = int(Exit.PASS)
        self._sent: dict[str, int] = {}
        self._sent_whole: dict[str, tuple[int, int]] = {}
        self._last_heard = 0.0
        self._preparing = 0.0
        self._ever = False

    async def run(self) -> int:
        """Return the exit code: that of the run, if control has it."""
        self._last_heard = trio.current_time()
        self._preparing = age()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey_signals)
            nursery.start_soon(self._generate)
            nursery.start_soon(self._send_all)
            await self._stay_connected()
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
            nursery.cancel_scope.cancel()
        return self._code

    def _give_up(self, why: str) -> None:
        print(f"error: {why}", file=sys.stderr, flush=True)
        self._code = self._code or int(Exit.UNEXPECTED)

    # --- control ----------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        """Keep a connection to control until it has everything, or has been gone for too long."""
        problem = ""
        while True:
            left = self._patience()
            try:
                with trio.fail_after(SLOWEST if left is None else max(0.5, min(SLOWEST, left))):
                    stream = await trio.open_tcp_stream(*self._control)
                link = await greet_control(stream, self._key)
            except (OSError, WireError, trio.TooSlowError, trio.BrokenResourceError) as error:
                problem = str(error) or type(error).__name__
            else:
                try:
                    if await self._converse(link):
                        return
                    problem = "it hung up"
                except (WireError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    problem = str(error)
                finally:
                    self._link = None
                    await link.aclose()
            host, port = self._control
            left = self._patience()
            if left is not None and left <= 0:
                self._give_up(f"no control machine at {host}:{port} ({problem})")
                return
            await trio.sleep(_AGAIN)

    def _patience(self) -> float | None:
        """Return how many seconds control may still be away; None while the run goes on."""
        since = trio.current_time() - self._last_heard
        if not self._ever:
            return JOIN - since
        if self._go.is_set() and not self._over.is_set():
            return None
        if self._over.is_set():
            since = min(since, trio.current_time() - self._ended)
        return HOME - since

    async def _converse(self, link: Link) -> bool:
        """Take in what control says; return whether there is nothing left to do."""
        await link.send(self._hello)
        while (body := await link.receive()) is not None:
            self._last_heard = trio.current_time()
            match wire.to_shard(body):
                case Welcome() as orders:
                    self._ever = True
                    self._orders = orders
                    self._sent, self._sent_whole = dict(orders.have), {}
                    if not self._go.is_set() and (reason := await self._unfit(orders)):
                        await link.send(Refused(reason))
                        self._give_up(reason)
                        self._code = int(Exit.USAGE)
                        return True
                    self._link = link
                    await link.send(Ready(self._preparing))
                case Ping(asked):
                    await link.send(Pong(asked, time.monotonic(), time.time()))
                case Go(at):
                    self._at = at
                    self._go.set()
                case Stop():
                    self._interrupt()
                    if not self._go.is_set():
                        return True
                case Kept():
                    return True
                case TurnedAway(said):
                    self._give_up(said)
                    return True
        return False

    async def _unfit(self, orders: Welcome) -> str:
        """Return why the orders cannot be carried out here; nothing when they can."""
        begun = trio.current_time()
        try:
            await trio.to_thread.run_sync(self._check, orders.arguments)
        except ValueError as error:
            return str(error)[:_SAID]
        self._preparing += trio.current_time() - begun
        return ""

    # --- the run ----------------------------------------------------------------------------

    async def _obey_signals(self) -> None:
        """End the run in good order when the node's engine says so."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self._interrupt()
                if not self._go.is_set():
                    raise SystemExit(int(Exit.INTERRUPTED))

    def _interrupt(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    async def _generate(self) -> None:
        """Run loadgen from the agreed moment on; make the digest when it is over."""
        await self._go.wait()
        assert self._orders is not None
        # The agreed moment is one of CLOCK_MONOTONIC; the option takes the wall clock's.
        start = time.time() + (self._at - time.monotonic())
        orders = self._orders
        self._process = await trio.lowlevel.open_process(
            [
                *(sys.executable, "-m", "loadgen", "run", *orders.arguments),
                *("--shard", f"{orders.index + 1}/{orders.count}", "--quiet"),
                *("--start-at", f"{start:.6f}", "--out", str(self._run)),
            ],
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        said = b""
        async for data in self._process.stderr:
            said = (said + data)[-_SAID:]
        code = await self._process.wait()
        self._ended = trio.current_time()
        with suppress(StoredError, OSError):
            await trio.to_thread.run_sync(write_up, self._run)
        lines = said.decode(errors="replace").strip().splitlines()
        self._code = code
        self._done = Done(code, lines[-1] if lines else "", {})
        self._over.set()

    # --- the way home -----------------------------------------------------------------------

    async def _send_all(self) -> None:
        """Send what is new of the run directory, twice a second and once more at the end."""
        told: Link | None = None
        while True:
            over, link = self._over.is_set(), self._link
            if link is not None and link is not told:
                try:
                    sizes = await self._send_round(link)
                    if over and self._done is not None:
                        await link.send(msgspec.structs.replace(self._done, sizes=sizes))
                        told = link
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass  # whoever keeps the connection notices too
            if over:
                await trio.sleep(_EVERY)
            else:
                with trio.move_on_after(_EVERY):
                    await self._over.wait()

    async def _send_round(self, link: Link) -> dict[str, int]:
        """Send what has changed; return the size of every file as control then has it.

        What stands in a file that is replaced may be about lines of those that grow: it is read
        before them and sent after them.
        """
        whole = self._replaced()
        sizes = {}
        for name in wire.GROWING:
            sizes[name] = await self._send_growth(link, name)
        for name, (state, data) in whole.items():
            sizes[name] = len(data)
            if self._sent_whole.get(name) != state:
                await link.send(Whole(name, data))
                self._sent_whole[name] = state
        return {name: size for name, size in sizes.items() if size}

    def _replaced(self) -> dict[str, tuple[tuple[int, int], bytes]]:
        """Return the files that are replaced, with what tells two versions apart."""
        found = {}
        for path in sorted([*self._run.rglob("*.json"), *self._run.glob(page.PAGE)]):
            name = str(path.relative_to(self._run))
            if path.name.startswith(".") or not wire.allowed_file(name):
                continue
            with suppress(OSError):
                about = path.stat()
                state = about.st_mtime_ns, about.st_ino
                if about.st_size < wire.LONGEST - 1024:
                    found[name] = state, path.read_bytes()
        return found

    async def _send_growth(self, link: Link, name: str) -> int:
        """Send the rest of a growing file; return how long it is now."""
        offset = self._sent.get(name, 0)
        try:
            file = (self._run / name).open("rb")
        except OSError:
            return offset
        with file:
            file.seek(offset)
            while data := file.read(wire.PIECE):
                await link.send(Append(name, offset, data))
                offset += len(data)
                self._sent[name] = offset
                if name == rundir.SAMPLES and (seen := latest(data)) is not None:
                    await link.send(seen)
        return offset


SLOWEST: Final = 5.0
"""Seconds that a connection may take to be made."""


def write_up(run: Path) -> None:
    """Write what would take control long to make of a thousand shards: the digest and the page.

    Raises:
        StoredError: when there is no run.
        OSError: when they cannot be written.
    """
    store.write_digest(run)
    page.write(stored.salvage(run))


def latest(data: bytes) -> Progress | None:
    """Return the counts of the last whole generator's line in a piece of `samples.jsonl`."""
    place = data.rfind(_GENERATOR)
    start, end = data.rfind(b"\n", 0, max(0, place)) + 1, data.find(b"\n", place)
    if place < 0 or end < 0:
        return None
    for found in sample.decode_lines([data[start:end]]):
        return Progress(found.t, sums.totals_of(found.values))
    return None


def age() -> float:
    """Return how many seconds ago this process was started."""
    started = start_of(os.getpid()) or 0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def read_key(path: Path) -> bytes:
    """Return the run's key.

    Raises:
        ValueError: when there is none in the file.
    """
    try:
        with path.open("rb") as file:
            key = file.read(wire.KEY + 1)
    except OSError as error:
        raise ValueError(f"cannot read the fleet's key {path}: {error.strerror}") from None
    if len(key) != wire.KEY:
        raise ValueError(f"{path} holds no key of a fleet: {wire.KEY} bytes are expected")
    return key


def default_node() -> str:
    """Return this machine's name."""
    return os.uname().nodename
