"""Where measurements are taken: two namespaces joined by a veth pair, and memcached in one of them.

It is the lab's site, with more ports and a quicker reuse than a tuning would ask for, so that the
kernel's search for a port (docs/diagnosis.md) is in no measurement of the generator. Every client
that is compared runs in the same namespaces against the same memcached.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

import trio

from bench import floor, quiet
from bench.figures import Late, Run
from lab.testbed.base import SitePlan, TestbedError
from lab.testbed.netns import NetnsSite, NetnsTestbed
from lab.testbed.processes import spawn
from loadgen.run.rundir import read_run, read_summary
from loadgen.sampling.namespace import run_inside
from loadgen.summary import Summary

_SYSCTLS = {
    "net/ipv4/ip_local_port_range": "1024 65535",
    "net/ipv4/tcp_tw_reuse": "1",
    # Linux 6.14 and later. Before, a port rests for a second, which does up to 32,000/s.
    "net/ipv4/tcp_tw_reuse_delay": "100",
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Ground:
    """A site, and a directory for what its runs leave behind."""

    site: NetnsSite
    scratch: Path
    ours: list[int] = field(default_factory=list)
    """Servers whose CPU is part of the measurement."""
    _numbers: count[int] = field(default_factory=count)

    @property
    def target(self) -> str:
        """The first server, as `address:port`."""
        return self.site.targets[0]

    async def output_of(self, command: Sequence[str], *, server: bool = False) -> str:
        """Run a program in the client's namespace, or the server's; return what it printed.

        Raises:
            TestbedError: when it failed; with its words.
        """
        output = os.memfd_create("output")
        try:
            namespace = self.site.server if server else self.site.client
            child = spawn(list(command), namespace=namespace, output=output)
            try:
                code = await child.wait()
            finally:
                child.kill()
            said = os.pread(output, 1 << 20, 0).decode(errors="replace")
        finally:
            os.close(output)
        if code:
            raise TestbedError(f"{command[0]} ended with {code}: {said.strip()[-500:]}")
        return said

    def place(self) -> Path:
        """Return the name of a run directory that does not exist yet."""
        return self.scratch / f"run-{next(self._numbers)}"

    async def loadgen(self, *arguments: str, out: Path | None = None) -> tuple[Summary, Path]:
        """Run `loadgen run` against the site's servers; return its summary and run directory.

        Args:
            arguments: besides the targets and `--out`.
            out: from `place`, for whoever wants to know it before the run.

        Raises:
            TestbedError: when it left no summary.
        """
        out = out or self.place()
        log = self.scratch / "log"
        await self.site.loadgen([*self.site.targets, *arguments, "--quiet", "--out", str(out)], log)
        found = read_summary(out)
        if found is None:
            raise TestbedError(f"loadgen left no summary: {log.read_text()[-500:]}")
        return found, out

    async def origin_of(self, out: Path) -> float:
        """Return time 0 of the run that writes to `out`, on CLOCK_MONOTONIC, once it is fixed."""
        while True:
            origin = (read_run(out) or {}).get("origin")
            if isinstance(origin, float):
                return origin
            await trio.sleep(0.02)

    async def closed_loop(self, seconds: float, concurrency: int, workers: int = 1) -> Run:
        """Run loadgen's closed loop, with everything on."""
        summary, _ = await self.loadgen(
            *("--rate", "max", "--concurrency", str(concurrency), "--duration", f"{seconds}s"),
            *("--workers", str(workers)),
        )
        return run_of(summary)

    async def undisturbed(self, run: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of a run that had the machine to itself; repeat it until one had.

        After `quiet.TRIES` runs the last is returned although it was disturbed. Every disturbed run
        is reported.
        """
        for _ in range(quiet.TRIES):
            await self._calm()
            others = quiet.Others(self.ours)
            begin = time.monotonic()
            result = await run()
            share = others.seconds() / (time.monotonic() - begin)
            if share <= quiet.LIMIT:
                return result
            print(f"  disturbed: other programs used {share:.2f} of a core", flush=True)
        return result

    async def _calm(self) -> None:
        """Wait until other programs leave the CPUs alone, or for as long as that is worth waiting."""
        give_up = time.monotonic() + quiet.PATIENCE
        while time.monotonic() < give_up:
            others = quiet.Others(self.ours)
            await trio.sleep(quiet.LOOK)
            if others.seconds() <= quiet.LIMIT * quiet.LOOK:
                return

    async def floor(
        self,
        seconds: float,
        concurrency: int,
        *,
        rate: float | None = None,
        source: str = "floor",
        defines: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> Run:
        """Run the C floor's closed loop, or a variant of it (`floor.compiled`).

        Args:
            seconds: how long connections are opened.
            concurrency: connections under way.
            rate: connections per second in the open loop, `concurrency` under way at most.
            source: see `floor.compiled`.
            defines: see `floor.compiled`.
            prefix: a command that runs the program, such as `taskset`.
        """
        address, _, port = self.target.rpartition(":")
        program = floor.compiled(self.scratch, source, defines)
        words = [*prefix, str(program), address, port, str(seconds), str(concurrency)]
        words += [] if rate is None else [str(rate)]
        return floor.parse(await self.output_of(words))


def run_of(summary: Summary) -> Run:
    """Return the result of a run of loadgen; the CPU is its workers'."""
    generator = summary.generator
    seconds = summary.ok / summary.rate.achieved if summary.rate.achieved else summary.elapsed
    lateness = summary.lateness
    late = None
    if lateness is not None and summary.rate.target is not None:
        late = Late(lateness.p50 * 1e6, lateness.p99 * 1e6, lateness.max * 1e6)
    return Run(summary.ok, seconds, generator.cpu_user, generator.cpu_system, late)


def _tune() -> None:
    for name, value in _SYSCTLS.items():
        path = Path("/proc/sys", name)
        if path.exists():
            path.write_text(value)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the site that a measurement is taken at."""
    group = parser.add_argument_group("the site")
    group.add_argument("--servers", type=int, default=1, help="memcached processes")
    group.add_argument("--memcached-threads", type=int, default=4)
    group.add_argument(
        "--apart",
        action="store_true",
        help="keep memcached on the upper half of the CPUs, as on a machine of its own",
    )


def upper_half(cpus: Iterable[int]) -> set[int]:
    """Return the CPUs that servers get when they are kept apart; all of them where there is one."""
    ordered = sorted(cpus)
    return set(ordered[len(ordered) // 2 :])


def _keep_apart(pids: Iterable[int]) -> None:
    servers = upper_half(os.sched_getaffinity(0))
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), servers)


@asynccontextmanager
async def ground(
    chosen: argparse.Namespace, *, server: str = "memcached", certificate: str = ""
) -> AsyncIterator[Ground]:
    """Make the site and warm it up: keys stored, neighbours resolved, caches filled.

    Args:
        chosen: with the options that `add_options` added.
        server: what the servers are, see `SitePlan`.
        certificate: with which they speak TLS.

    Raises:
        TestbedError: when it cannot be made here.
    """
    plan = SitePlan(
        server=server,
        certificate=certificate,
        servers=chosen.servers,
        memcached_threads=chosen.memcached_threads,
    )
    secured = ("--tls", "--tls-insecure") if certificate else ()
    scratch = Path(tempfile.mkdtemp(prefix="churnlab-bench-"))
    try:
        async with NetnsTestbed().site(
            plan, prepare=lambda client, _: run_inside(client, _tune)
        ) as site:
            made = Ground(site, scratch, list(site.servers))
            if chosen.apart:
                _keep_apart(site.servers)
            await made.loadgen("--rate", "500" if secured else "2000", "--duration", "1s", *secured)
            yield made
    finally:
        shutil.rmtree(scratch)
