"""Carries out `loadgen run --fleet`: options to a fleet, its run, its writers, its exit code."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from loadgen.cli.execute import DEFAULT_RATE, Results, deliver, new_directory
from loadgen.cli.group import tell
from loadgen.config import LoadOptions
from loadgen.config.schedule import parse_schedule
from loadgen.errors import Exit
from loadgen.files import WriteError, check_results, writing
from loadgen.fleet import conduct, home
from loadgen.fleet.conduct import Conductor, Launcher, Nobody
from loadgen.fleet.errors import FleetError
from loadgen.fleet.live import Live
from loadgen.fleet.record import FILE, Fleet, Kind, Seat
from loadgen.fleet.shard import read_key
from loadgen.run import rundir
from loadgen.run.live import terminal
from loadgen.run.resolve import source_toward
from loadgen.target import parse_target
from loadgen.thresholds import parse_threshold

_GRACE: Final = 5.0
"""Seconds that a run may take beyond its last attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """Which machines a fleet's run takes, and how they reach this one."""

    kind: Kind
    shards: int | None
    """None for one a node."""
    collector: tuple[str, int] | None
    """None for this machine's address toward the nodes, and any port."""
    wait: float
    """Seconds that shards may take to come."""
    key: Path | None
    image: str
    network: str = ""
    """The swarm's overlay network that shards are on; empty for that of their nodes."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """Of each shard's container on such a network."""


def for_shards(load: LoadOptions, shards: int) -> LoadOptions:
    """Return what is asked of each of so many shards: bounds are split, gates are the whole's."""
    most = load.max_in_flight
    return replace(
        load,
        concurrency=max(1, load.concurrency // shards) if load.rate == "max" else load.concurrency,
        max_in_flight=None if most is None else max(1, most // shards),
        thresholds=(),
        abort_on_fail=False,
    )


def check(load: LoadOptions, wanted: FleetOptions) -> None:
    """Check here what no shard is needed for.

    Raises:
        ValueError: naming what cannot be run.
    """
    if load.namespaces:
        raise ValueError(
            "--netns names a namespace of this machine, and shards run on others; leave it out "
            "with --fleet"
        )
    if load.shard != (0, 1):
        raise ValueError("--shard is given to each shard by the fleet; leave it out with --fleet")
    for target in load.targets:
        parse_target(target)
    for expression in load.thresholds:
        parse_threshold(expression)
    if load.rate != "max":
        parse_schedule(load.schedule, rate=load.rate or DEFAULT_RATE, duration=load.duration)
    if wanted.network and wanted.kind != "swarm":
        raise ValueError("--fleet-network is a network of a swarm's; leave it out")
    if wanted.sysctls and not wanted.network:
        raise ValueError(
            "--fleet-sysctl is for containers with a network of their own, and shards share their "
            "node's; give --fleet-network too"
        )
    if wanted.kind == "wait":
        if wanted.shards is None or wanted.collector is None:
            raise ValueError(
                "--fleet wait needs --shards N and --collector HOST:PORT: who starts the shards "
                "gives them the same"
            )
        if wanted.key is None:
            raise ValueError("--fleet wait needs --fleet-key FILE: the key that the shards have")


def execute(load: LoadOptions, wanted: FleetOptions, results: Results) -> Exit:
    """Run the fleet, write what was asked for, and return the exit code.

    Raises:
        ValueError: for anything that cannot be run.
        FleetError: for a fleet that cannot begin.
    """
    check(load, wanted)
    check_results(results.json_file, results.junit)
    launcher, seats, host = _launcher(wanted, quiet=results.quiet)
    wanted_host, port = wanted.collector or ("", 0)
    fleet = Fleet(
        kind=wanted.kind,
        run=f"churnlab-{secrets.token_hex(4)}",
        arguments=for_shards(load, len(seats)).arguments(),
        thresholds=list(load.thresholds),
        abort_on_fail=load.abort_on_fail,
        seats=seats,
        host=wanted_host or host,
        port=port,
        seconds=load.warmup + load.duration + load.max_lateness + load.timeout + _GRACE,
        duration=load.duration,
    )
    key = read_key(wanted.key) if wanted.key else conduct.new_key()
    out = results.out or new_directory()
    _make(out, key)
    try:
        _conduct(fleet, key, out, launcher, patience=wanted.wait, quiet=results.quiet)
    except FleetError:
        if fleet.start is None:
            _forget(out)
        raise
    return _finish(fleet, out, results)


def resume(folder: Path, results: Results) -> Exit:
    """Bring home the run of a control machine that was killed, and return the exit code."""
    fleet = home.read_fleet(folder)
    if fleet is None:
        raise FleetError(f"{folder} holds no fleet's run: there is no {FILE}")
    if fleet.ended:
        raise FleetError(f"the run in {folder} has come home already", f"loadgen report {folder}")
    launcher: Launcher = Nobody()
    if fleet.kind == "swarm":
        from loadgen.fleet.swarm import Swarm

        launcher = Swarm.of(fleet)
    if fleet.start is None:
        launcher.remove()
        _forget(folder)
        raise FleetError(
            f"the run in {folder} had not begun", "nothing of it is left; run it again"
        )
    key = read_key(folder / conduct.KEY_FILE)
    _conduct(fleet, key, folder, launcher, patience=0.0, quiet=results.quiet)
    return _finish(fleet, folder, results)


def _launcher(wanted: FleetOptions, *, quiet: bool) -> tuple[Launcher, list[Seat], str]:
    """Return who starts the shards, their seats, and where they reach this machine."""
    if wanted.kind == "wait":
        seats = [Seat(index=index, seat=str(index)) for index in range(wanted.shards or 0)]
        return Nobody(), seats, ""
    from loadgen.fleet.swarm import Swarm

    swarm = Swarm(wanted.image, wanted.shards, network=wanted.network, sysctls=dict(wanted.sysctls))
    for line in swarm.notes:
        _say(line, quiet=quiet)
    return swarm, swarm.seats, route_from(swarm.addresses)


def route_from(addresses: Iterable[str]) -> str:
    """Return this machine's address on the way to the first of some hosts that has a route.

    Raises:
        FleetError: when there is a route to none of them.
    """
    for address in addresses:
        if (own := source_toward(address)) is not None:
            return own
    raise FleetError(
        "this machine has no route to any node", "say how shards reach it: --collector HOST:PORT"
    )


def _make(out: Path, key: bytes) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if (out / FILE).exists() or (out / rundir.RUN).exists():
            raise FleetError(f"{out} holds a run already", "give another --out")
        conduct.write_key(key, out / conduct.KEY_FILE)
    except OSError as error:
        raise FleetError(f"cannot write the run directory {out}: {error.strerror}") from None


def _forget(out: Path) -> None:
    """Remove what a run that never began has left."""
    for name in (conduct.KEY_FILE, FILE):
        with suppress(OSError):
            (out / name).unlink()
    with suppress(OSError):
        out.rmdir()


def _say(line: str, *, quiet: bool) -> None:
    if not quiet:
        tell(line, err=True)


def _conduct(
    fleet: Fleet, key: bytes, out: Path, launcher: Launcher, *, patience: float, quiet: bool
) -> None:
    with terminal(enabled=not quiet and sys.stderr.isatty()) as draw:
        conductor = Conductor(
            fleet,
            key,
            out,
            launcher,
            show=Live(fleet.duration, draw).update,
            say=lambda line: _say(line, quiet=quiet),
            patience=patience,
        )
        trio.run(conductor.run)


def _finish(fleet: Fleet, out: Path, results: Results) -> Exit:
    found = home.gathered(fleet, out)
    lost = None
    try:
        with writing(out):
            rundir.write_summary(out, found.summary)
            home.write_pages(found)
    except WriteError as error:
        lost = error
    return deliver(found.summary, found, results, lost)
