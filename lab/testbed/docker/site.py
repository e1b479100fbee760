"""One trial's containers: a site, from the lab's side of the engine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from lab.sysctl.apply import Applied
from lab.testbed.base import ROLES, TestbedError, Tuned
from lab.testbed.docker import orders
from lab.testbed.docker import tuning as docker_tuning
from lab.testbed.docker.engine import Container, Engine, Network, Spec
from lab.testbed.docker.inside import watch
from lab.testbed.docker.orders import LoadOrder
from lab.testbed.faults import Fault
from loadgen.run import rundir
from loadgen.sample import ROLE_CLIENT, ROLE_HOST, ROLE_SERVER

STOP_GRACE: Final = 15.0
"""Seconds an interrupted run has to save its results."""
_T = TypeVar("_T")


async def in_thread(call: Callable[[], _T], *, abandon: bool = False) -> _T:
    """Run a blocking call of the engine's; with `abandon`, cancelling does not wait for it."""
    return await trio.to_thread.run_sync(call, abandon_on_cancel=abandon)


@dataclass(slots=True)
class ServerContainer:
    """One server's container."""

    container: Container
    address: str
    name: str
    """What it is, for messages."""
    expected_to_end: bool = False
    """A fault killed it."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A tuning as the engine was asked for it."""

    tuned: Tuned | None
    sysctls: Mapping[str, str]
    """For the engine to set."""
    skipped: Mapping[str, str]
    keys: tuple[str, ...]
    """To read back, beside the catalogued ones."""


@dataclass(slots=True)
class DockerSite:
    """A `Site` of containers. Each call of `loadgen` has a client container of its own."""

    engine: Engine
    network: Network
    volume: str
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    ordered: Ordered
    baseline: dict[str, dict[str, str]]
    notes: tuple[str, ...]
    running: list[ServerContainer]
    """In the order of `targets`."""
    applied: dict[str, Applied] = field(default_factory=dict)
    _client: Container | None = None
    _started: trio.Event = field(default_factory=trio.Event)

    async def loadgen(self, arguments: Sequence[str], log: Path) -> int:
        """See `Site.loadgen`.

        Raises:
            OSError: when `log` or the run directory cannot be written.
            TestbedError: when the engine fails.
            TuningError: when a container did not have the values that were asked for.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        inner, out = _redirect(arguments)
        order = LoadOrder(sources=self.sources[1:], arguments=tuple(inner), keys=self.ordered.keys)
        spec = Spec(
            name=self.engine.name(ROLE_CLIENT),
            command=["load", msgspec.json.encode(order).decode()],
            network=self.network,
            address=self.sources[0],
            volume=self.volume,
            sysctls=self.ordered.sysctls,
            more_addresses=len(self.sources) > 1,
        )
        self._client = client = await in_thread(partial(self.engine.start, spec))
        self._started.set()
        collect = partial(self._collect, client, out, log)
        try:
            code = await in_thread(client.wait, abandon=True)
        except BaseException:
            with trio.CancelScope(shield=True):
                await in_thread(partial(client.signal, "SIGINT"))
                with trio.move_on_after(STOP_GRACE), suppress(TestbedError):
                    await in_thread(client.wait, abandon=True)
                await in_thread(collect)
            raise
        # What the others sample until a moment after the end belongs to the run.
        await trio.sleep(2 * watch.INTERVAL)
        await in_thread(collect)
        return code

    def _collect(self, client: Container, out: Path | None, log: Path) -> None:
        """Copy out what the containers wrote, put it together, and remove the client."""
        with log.open("a", encoding="utf-8") as file:
            file.write(client.logs())
        with tempfile.TemporaryDirectory(prefix="churnlab-") as name:
            folder = Path(name)
            client.fetch(folder)
            self._read_back(folder)
            run = folder / orders.RUN.name
            if out is not None and run.is_dir():
                _copy(run, out)
                seen = [folder / orders.watched(role).name for role in (ROLE_SERVER, ROLE_HOST)]
                problems = watch.merge(out, seen)
                self.notes = tuple(dict.fromkeys((*self.notes, *problems)))
        client.remove()
        self._client = None

    def _read_back(self, folder: Path) -> None:
        """Take in what the containers found in force, and hold it against what was asked."""
        for role in ROLES:
            with suppress(FileNotFoundError):
                data = (folder / orders.in_force(role).name).read_bytes()
                values = msgspec.json.decode(data, type=dict[str, str])
                self.applied[role] = Applied(values, dict(self.ordered.skipped))
                if (tuned := self.ordered.tuned) is not None:
                    asked = self.ordered.sysctls
                    if wrong := docker_tuning.not_held(tuned.tuning, asked, values):
                        raise docker_tuning.error(tuned.tuning, f"{tuned.arm} ({role})", wrong)

    async def strike(self, fault: Fault, directory: Path) -> float:  # noqa: ARG002 - the volume has it
        """See `Site.strike`."""
        await self._started.wait()
        assert self._client is not None
        about = orders.RUN / rundir.RUN
        command = ["python", "-m", "lab.testbed.docker.inside", "wait", str(about), repr(fault.at)]
        at = float(await in_thread(partial(self._client.ask, command), abandon=True))
        began = time.monotonic()
        await in_thread(partial(self._act, fault, self.running[fault.server]))
        return at + time.monotonic() - began

    def _act(self, fault: Fault, server: ServerContainer) -> None:
        container = server.container
        match fault.action:
            case "pause":
                container.act("pause")
            case "resume":
                container.act("unpause")
            case "kill":
                server.expected_to_end = True
                container.act("kill")
            case "restart":
                container.act("kill")
                container.act("start")
            case "disconnect":
                self.engine.disconnect(container, self.network)
            case "reconnect":
                self.engine.connect(container, self.network, server.address)

    def check_servers(self) -> None:
        """Make sure that no server ended of itself.

        Raises:
            TestbedError: when one did, with its last words.
        """
        for server in self.running:
            if not server.expected_to_end and not server.container.running():
                raise TestbedError(
                    f"{server.name} at {server.address} ended during the trial: "
                    f"{server.container.said()}"
                )

    def remove_client(self) -> None:
        """Remove the client's container, where an error has left it."""
        if self._client is not None:
            self._client.remove()


def _redirect(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return the arguments with the run directory in the volume, and where it is to be here."""
    inner = list(arguments)
    if "--out" not in inner:
        return inner, None
    place = inner.index("--out") + 1
    out, inner[place] = Path(inner[place]), str(orders.RUN)
    return inner, out


def _copy(run: Path, out: Path) -> None:
    """Copy a run directory's files, with the rights that this user gives new files."""
    for path in (file for file in run.rglob("*") if file.is_file()):
        target = out / path.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
