"""`lab restore`: put back and remove what labs that were killed have left."""

from __future__ import annotations

import click

from loadgen.cli.group import fail, say, tell
from loadgen.errors import Exit


@click.command()
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also remove what labs on other machines, or before this machine's last start, have left.",
)
def command(*, everything: bool) -> None:
    """Put back and remove what labs that were killed have left behind.

    The host's settings come back from the journal; containers, networks and volumes without a living
    lab go, and on a swarm's manager the services and secrets of fleets. What running labs use stays. Network namespaces need nothing: they vanish with their lab.
    """
    from lab.testbed.base import TestbedError
    from lab.testbed.host.journal import JournalError
    from loadgen.fleet.errors import FleetError

    problems = []
    steps = (
        _settings,
        lambda: _containers(everything=everything),
        lambda: _fleets(everything=everything),
    )
    for step in steps:
        try:
            for line in step():
                tell(line)
        except (JournalError, TestbedError, FleetError) as error:
            problems.append(str(error))
    for line in problems:
        say(line)
    if problems:
        raise SystemExit(int(Exit.UNEXPECTED))


def _settings() -> list[str]:
    """Restore the host's settings.

    Raises:
        JournalError: when they cannot be.
        TestbedError: while a lab is at work that will do it itself.
    """
    import os

    from lab.testbed.host import journal
    from lab.testbed.host.settings import take_lock

    place = journal.JournalPlace()
    if journal.read(place) is None:
        return ["host settings: nothing to restore"]
    try:
        lock = take_lock(place)
    except OSError as error:
        fail(f"{place.lock}: {error.strerror}; run as root")
    try:
        return [f"restored: {line}" for line in journal.restore(place)]
    finally:
        os.close(lock)


def _containers(*, everything: bool) -> list[str]:
    """Remove what the Docker testbed has left on the engine."""
    from lab.testbed.base import TestbedError
    from lab.testbed.docker.engine import Engine
    from lab.testbed.docker.errors import NoEngineError

    try:
        engine = Engine()
    except NoEngineError as error:
        return [f"containers: not looked for, since {error}"]
    lines, problems = [], []
    kept = foreign = 0
    try:
        for one in engine.leftovers():
            if one.owner.here() and one.owner.alive():
                kept += 1
            elif not one.owner.here() and not everything:
                foreign += 1
            else:
                try:
                    engine.remove(one)
                except TestbedError as error:
                    problems.append(str(error))
                else:
                    lines.append(f"removed: {one.kind} {one.name}")
    finally:
        engine.close()
    if problems:
        raise TestbedError("; ".join(problems))
    if kept:
        lines.append(f"kept: {kept} containers, networks and volumes of a lab that is running")
    if foreign:
        lines.append(
            f"kept: {foreign} containers, networks and volumes of a lab on another machine, or from "
            "before this one's last start; --all removes them"
        )
    return lines or ["containers: nothing to remove"]


def _fleets(*, everything: bool) -> list[str]:
    """Remove the services and secrets that control machines of fleets have left on a swarm."""
    from loadgen.fleet import engine, swarm
    from loadgen.fleet.errors import NoEngineError

    try:
        client = engine.connect().client
    except NoEngineError:
        return []  # the containers' line has said so
    lines, kept = [], 0
    try:
        found = swarm.leftovers(client)
        for run in dict.fromkeys(one.name for one in found):
            owners = [one.owner for one in found if one.name == run]
            if all(owner.here() and not owner.alive() for owner in owners) or (
                everything and not any(owner.here() and owner.alive() for owner in owners)
            ):
                swarm.remove(client, run)
                lines += [f"removed: {one.kind} {one.name}" for one in found if one.name == run]
            else:
                kept += 1
    finally:
        client.close()
    if kept:
        lines.append(
            f"kept: {kept} fleets' services and secrets of a run that goes on, or of another "
            "machine; --all removes the latter"
        )
    return lines
