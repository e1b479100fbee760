"""The swarm testbed: the Docker testbed's servers, and clients on every node of a Docker Swarm.

    manager: server containers ── overlay network of 198.18.0.0/15 ── a client container on each node

Each call of `loadgen` is a run of a fleet, with one shard a node in a fresh container that has the arm's
sysctls (`loadgen run --fleet swarm --fleet-network --fleet-sysctl`): clocks, the way home, adding up
and what a dead node costs are the fleet's, docs/fleet.md. Servers are on the manager's engine.

Unlike the Docker testbed's, the servers' kernel is not sampled: clocks of different machines are not
one. Each shard samples its own container's, and asks the servers for their statistics.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

import msgspec
import trio

from lab.sysctl.apply import Applied
from lab.testbed.base import SitePlan, TestbedError
from lab.testbed.docker import testbed
from lab.testbed.docker import tuning as docker_tuning
from lab.testbed.docker.engine import Network
from lab.testbed.docker.errors import EngineError
from lab.testbed.docker.site import STOP_GRACE, DockerSite, in_thread
from lab.testbed.docker.testbed import DockerTestbed
from lab.testbed.faults import Fault
from loadgen.fleet import home
from loadgen.fleet.errors import FleetError
from loadgen.fleet.record import SHARDS
from loadgen.fleet.swarm import Swarm
from loadgen.run import stored
from loadgen.run.rundir import RunDirectory
from loadgen.sample import ROLE_CLIENT

NOTE: Final = (
    "clients are on every node of the swarm, behind VXLAN; role client is each shard's own container, "
    "and the kernel on the servers' side is not sampled"
)
_IN_USE: Final = 15.0
"""Seconds for which a network stays in use after its last task, at most."""


class SwarmTestbed(DockerTestbed):
    """Makes sites of containers on the nodes of a swarm.

    Args:
        image: what they are made of; every node must have it, or be able to pull it.

    Raises:
        TestbedError: when no engine answers, or one that is too old.
    """

    name = "swarm"
    driver = "overlay"
    watches = False

    def check(self) -> None:
        """See `Testbed.check`."""
        super().check()
        try:
            Swarm(self._engine.image, None).remove()
        except FleetError as error:
            raise TestbedError(error.problem, error.remedy) from error

    def _remove_network(self, network: Network) -> None:
        """Remove a network as soon as its tasks have left it, and wait until it is gone.

        The swarm takes the order and carries it out later, on this engine as on the others.
        """
        deadline = time.monotonic() + _IN_USE
        while True:
            try:
                self._engine.remove_network(network)
                gone = not self._engine.has_network(network)
            except EngineError:
                if time.monotonic() > deadline:
                    raise
                gone = False
            if gone or time.monotonic() > deadline:
                return
            time.sleep(0.2)

    def _site(self, site: DockerSite) -> DockerSite:
        return SwarmSite(
            engine=site.engine,
            network=site.network,
            volume=site.volume,
            targets=site.targets,
            sources=("",),  # the swarm gives each container its own
            ordered=site.ordered,
            baseline=site.baseline,
            notes=(NOTE,),
            running=site.running,
        )


class SwarmSite(DockerSite):
    """A `Site` whose client is a fleet."""

    async def loadgen(self, arguments: Sequence[str], log: Path) -> int:
        """See `Site.loadgen`.

        Raises:
            OSError: when `log` or the run directory cannot be written.
            TestbedError: when the engine fails.
            TuningError: when a container did not have the values that were asked for.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        out = Path(arguments[list(arguments).index("--out") + 1])
        sysctls = [f"--fleet-sysctl={key}={value}" for key, value in self.ordered.sysctls.items()]
        command = [
            *(sys.executable, "-m", "loadgen", "run", *arguments, *sysctls),
            *("--fleet", "swarm", "--image", self.engine.image),
            *("--fleet-network", self.network.id),
        ]
        with log.open("ab") as output:
            process = await trio.lowlevel.open_process(
                command, stdin=DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            code = await process.wait()
        except BaseException:
            # The fleet removes what it made on the swarm, for which it takes a while.
            process.send_signal(signal.SIGINT)
            with trio.move_on_after(2 * STOP_GRACE, shield=True):
                await process.wait()
            process.kill()
            raise
        await in_thread(partial(self._take_in, out))
        return code

    def _take_in(self, out: Path) -> None:
        """Put the whole's course beside its summary, and note what was in force on each side."""
        with tempfile.TemporaryDirectory(prefix="churnlab-") as name:
            self.running[0].container.fetch(Path(name))
            self._read_back(Path(name))
        fleet = home.read_fleet(out)
        if fleet is None:  # it never began, and the log says why
            return
        for path in sorted((out / SHARDS).iterdir()):
            if (about := stored.read_about(path)) is not None:
                self._hold(about.sysctls.get(ROLE_CLIENT, {}), path.name)
        whole = home.gathered(fleet, out)
        directory = RunDirectory(out)
        try:
            if whole.about is not None:
                directory.write_run(msgspec.to_builtins(whole.about))
            directory.add_samples(whole.samples)
            directory.add_intervals(whole.intervals)
        finally:
            directory.close()

    def _hold(self, values: dict[str, str], shard: str) -> None:
        """Hold what a shard found in force against what was asked."""
        self.applied.setdefault(ROLE_CLIENT, Applied(values, dict(self.ordered.skipped)))
        if (tuned := self.ordered.tuned) is not None:
            asked = {key: one for key, one in self.ordered.sysctls.items() if key in values}
            if wrong := docker_tuning.not_held(tuned.tuning, asked, values):
                raise docker_tuning.error(tuned.tuning, f"{tuned.arm} ({shard})", wrong)

    async def strike(self, fault: Fault, directory: Path) -> float:  # noqa: ARG002 - as `Site` has it
        """See `Site.strike`.

        Raises:
            TestbedError: always: a moment of one run is known on no other machine's clock.
        """
        raise TestbedError(f"{fault}: the swarm testbed has no faults", "use --testbed docker")


def check_plan(plan: SitePlan) -> None:
    """Make sure that a site can be made on a swarm, before any is.

    Raises:
        TestbedError: when it cannot.
    """
    testbed.check_plan(plan)
    if plan.source_addresses > 1:
        raise TestbedError(
            "clients: each node's container has one address on a swarm",
            "add nodes, or use --testbed docker",
        )
