"""A compose experiment from its first container to its last: plan, trials, report."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from lab import report as reports
from lab.analysis.exit import exit_code
from lab.analysis.records import Arm, Experiment, Trial
from lab.analysis.store import EXPERIMENT
from lab.compose import settings
from lab.compose.settings import ComposeSettings
from lab.compose.turns import ARMS, TurnError, Turns
from lab.compose.variables import VARIABLES
from lab.report.terminal import show
from lab.report.trial_line import trial_line
from lab.testbed.base import ROLES
from lab.testbed.docker.inside import addresses, server, watch
from lab.testbed.docker.inside.look import read_back
from lab.testbed.docker.orders import CONNTRACK_NOTE, VOLUME
from lab.trials.trial import MAX_REPETITIONS, counts, suffix, summary_of
from loadgen.files import write_whole
from loadgen.run import environment
from loadgen.run.resolve import default_workers, usable_cpus
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.summary import Summary, encode

REPORTS: Final = Path("/reports")
SERVERS_WITHIN: Final = 30.0
"""Seconds until all servers of an arm answer to its name."""
_SETTINGS: Final = "settings.json"
_PROBLEMS: Final = "problems.txt"
_PARTS: Final = ("claims", "done", "watched")
"""Folders that the containers use among themselves; no part of the result."""


def current(volume: Path = VOLUME) -> Path:
    """Return the directory of the experiment under way.

    Raises:
        OSError: when `plan` has not run.
    """
    return volume / (volume / "current").read_text().strip()


def read_settings(directory: Path) -> ComposeSettings:
    """Return what `plan` found."""
    return msgspec.json.decode((directory / _SETTINGS).read_bytes(), type=ComposeSettings)


def write_experiment(directory: Path, experiment: Experiment) -> None:
    """Write `experiment.json`, whole or not at all."""
    write_whole(directory / EXPERIMENT, encode(experiment))


def read_experiment(directory: Path) -> Experiment:
    """Return `experiment.json` as it stands."""
    return msgspec.json.decode((directory / EXPERIMENT).read_bytes(), type=Experiment)


def plan(variables: Mapping[str, str], volume: Path = VOLUME) -> ComposeSettings:
    """Check the variables and make the experiment's directory; earlier experiments' go.

    Raises:
        ValueError: for a variable that cannot be.
    """
    now = datetime.now(UTC)
    found = settings.read(variables, name=now.strftime("%Y%m%d-%H%M%S"))
    for old in volume.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    directory = volume / found.name
    for part in ("trials", *_PARTS):
        (directory / part).mkdir(parents=True)
    (directory / _SETTINGS).write_bytes(msgspec.json.encode(found))
    write_experiment(
        directory,
        Experiment(
            name=found.name,
            testbed="compose",
            started_at=now.isoformat(timespec="milliseconds"),
            finished=False,
            config=found.record(),
            environment=environment.describe(),
            arms=[],
            trials=[],
            # This container's own namespace is a fresh one, without any setting.
            baseline={role: read_back(VARIABLES.values(), catalogued=False) for role in ROLES},
        ),
    )
    (volume / "current").write_text(found.name)
    return found


@dataclass(frozen=True, slots=True)
class ClientContainer:
    """One client container: one trial of one arm."""

    arm: str
    directory: Path
    asked: Mapping[str, str]

    def run(self) -> str:
        """Take a number, wait, run the trial; return the line with its result."""
        addresses.suspend_privileges()
        found = read_settings(self.directory)
        turns = Turns(self.directory, found.trials)
        try:
            name, number = turns.claim(self.arm)
        except TurnError as error:
            return str(error)
        turns.wait(name)
        try:
            return self._trial(found, name, number)
        except Exception as error:  # noqa: BLE001 - compose would end here, without a report
            return self._problem(f"trial {name}: {error}")
        finally:
            turns.done(name)

    def _trial(self, found: ComposeSettings, name: str, number: int) -> str:
        # Who closes first keeps TIME_WAIT. Where that is a server, which outlives the trial, the
        # next client's connections must not look like the last one's.
        try:
            addresses.join(None if found.close == "server" else addresses.CLIENT)
        finally:
            addresses.drop_privileges()
        hosts = _servers(self.arm, found.servers)
        line = ""
        for repetition, port in enumerate(server.PORTS[: MAX_REPETITIONS + 1]):
            folder = f"trials/{name}{suffix(repetition)}"
            started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
            targets = [f"{host}:{port}" for host in hosts]
            summary = self._load(targets, found, self.directory / folder)
            used = counts(summary, repetition)
            self._record(
                Trial(
                    arm=self.arm,
                    number=number,
                    repetition=repetition,
                    used=used,
                    directory=folder,
                    sysctls={ROLE_CLIENT: read_back(self.asked), **self._server_sysctls()},
                    skipped={},
                    started_at=started_at,
                )
            )
            line = _line(self.arm, number, found.trials, summary, used=used)
            if used:
                break
            print(line, flush=True)
        return line

    def _load(self, targets: Sequence[str], found: ComposeSettings, run: Path) -> Summary:
        """Run loadgen, add what others saw meanwhile; return the summary.

        Raises:
            TrialError: when there is none.
        """
        workers = found.workers or default_workers(usable_cpus(), shared=True)
        load = replace(found.load(), targets=tuple(targets), workers=workers)
        command = [sys.executable, "-m", "loadgen", "run", *load.arguments()]
        done = subprocess.run(
            [*command, "--quiet", "--out", str(run)],
            stderr=subprocess.PIPE,
            check=False,
        )
        said = done.stderr.decode(errors="replace")
        summary_of(run, done.returncode, said)
        watched = self.directory / "watched"
        # Of several servers one is watched: its kernel's counters would not add up with others'.
        servers = sorted(watched.glob(f"server-{self.arm}-*.jsonl"))[:1]
        for problem in watch.merge(run, [*servers, *watched.glob("host.jsonl")]):
            self._problem(f"{run.name}: {problem}")
        return summary_of(run, done.returncode, said)

    def _server_sysctls(self) -> dict[str, dict[str, str]]:
        """Return what the arm's servers read back in their containers, where all agree."""
        read = [
            msgspec.json.decode(path.read_bytes(), type=dict[str, str])
            for path in self.directory.glob(f"watched/server-{self.arm}-*.sysctls")
        ]
        common = dict(set.intersection(*(set(one.items()) for one in read))) if read else {}
        return {ROLE_SERVER: dict(sorted(common.items()))} if common else {}

    def _record(self, trial: Trial) -> None:
        """Add the trial to `experiment.json`. Only one client at a time has its turn."""
        experiment = read_experiment(self.directory)
        arm = Arm(
            name=self.arm,
            tuning=self.arm,
            source="compose.yaml",
            text=settings.tuning_text(self.asked),
            settings=dict(self.asked),
        )
        arms = {known.name: known for known in (*experiment.arms, arm)}
        write_experiment(
            self.directory,
            msgspec.structs.replace(
                experiment,
                arms=[arms[name] for name in ARMS if name in arms],
                trials=[*experiment.trials, trial],
            ),
        )

    def _problem(self, line: str) -> str:
        with (self.directory / _PROBLEMS).open("a") as file:
            file.write(line + "\n")
        return line


def _servers(arm: str, count: int) -> list[str]:
    """Return the benchmark addresses of all of an arm's servers, once they are there.

    Raises:
        OSError: when they are not within half a minute.
    """
    deadline = time.monotonic() + SERVERS_WITHIN
    while True:
        hosts = addresses.resolve(f"server-{arm}")
        if len(hosts) == count:
            return [addresses.benchmark_address(host) for host in hosts]
        if time.monotonic() > deadline:
            raise OSError(f"{len(hosts)} of {count} servers are running; is SERVERS={count} meant?")
        time.sleep(0.2)


def _line(arm: str, number: int, trials: int, summary: Summary, *, used: bool) -> str:
    return trial_line(arm, number, trials, summary, used=used).strip()


def finish(directory: Path) -> list[str]:
    """Name the arms by their settings, mark the experiment finished; return what went wrong."""
    experiment = read_experiment(directory)
    found = read_settings(directory)
    names = settings.arm_names({arm.name: arm.settings for arm in experiment.arms})
    problems = directory / _PROBLEMS
    lines = problems.read_text().splitlines() if problems.exists() else []
    arms = [
        msgspec.structs.replace(arm, tuning=found.names.get(arm.name) or names[arm.name])
        for arm in experiment.arms
    ]
    used = sum(1 for trial in experiment.trials if trial.used)
    config = msgspec.structs.replace(experiment.config, notes=[*_notes(directory), *lines])
    write_experiment(
        directory,
        msgspec.structs.replace(
            experiment, arms=arms, config=config, finished=used == found.trials * len(ARMS)
        ),
    )
    for part in (_SETTINGS, _PROBLEMS):
        (directory / part).unlink(missing_ok=True)
    for part in _PARTS:
        shutil.rmtree(directory / part, ignore_errors=True)
    return lines


def _notes(directory: Path) -> list[str]:
    notes = []
    if any((directory / "watched").glob("host.jsonl")):
        notes.append(CONNTRACK_NOTE)
    return notes


def copy_out(directory: Path, folder: Path = REPORTS) -> Path:
    """Copy the experiment to the user's folder, as the user who owns it; return where.

    Raises:
        OSError: when the folder cannot be written.
    """
    owner = folder.stat()
    addresses.become(owner.st_uid, owner.st_gid)
    target, number = folder / directory.name, 2
    while target.exists():
        target = folder / f"{directory.name}-{number}"
        number += 1
    return Path(shutil.copytree(directory, target, copy_function=shutil.copyfile))


def shut_servers_down() -> None:
    """Tell all servers of both arms to end."""
    for arm in ARMS:
        try:
            hosts = addresses.resolve(f"server-{arm}")
        except OSError:
            continue
        for host in hosts:
            server.shut_down(host)


def report() -> int:
    """Write and show the report, end the servers; return the exit code.

    Raises:
        OSError: when the user's folder cannot be written.
    """
    try:
        directory = current()
        # Compose starts this container when the first client of each arm has ended.
        gone = Turns(directory, read_settings(directory).trials).wait_for_all()
        target = copy_out(directory)
        problems = finish(target) + [f"trial {name}: its container is gone" for name in gone]
        comparison = reports.write_all(target)
        show(comparison)
        for line in problems:
            print(f"problem: {line}")
        print(f"report: reports/{target.name}/index.html", flush=True)
        return int(exit_code(comparison))
    finally:
        # Only now: with the servers the last container ends, and `docker compose up` with it.
        shut_servers_down()


def watch_host() -> None:
    """Sample the host's namespace until every trial is over."""
    directory = current()
    expected = read_settings(directory).trials * len(ARMS)
    done = directory / "done"
    watch.watch(
        "host",
        directory / "watched" / "host.jsonl",
        over=lambda: done.is_dir() and len(list(done.iterdir())) >= expected,
    )


def serve(arm: str, variables: Mapping[str, str]) -> int:
    """Run one of an arm's servers, with what its kernel counts and has in force on record."""
    addresses.join()
    addresses.drop_privileges()
    stem = f"server-{arm}-{socket.gethostname()}"
    found = read_settings(current())
    watched = current() / "watched"
    command = server.command(
        threads=found.memcached_threads,
        connections=found.memcached_connections,
        memory=found.memcached_memory,
        options=found.memcached_options,
    )
    sysctls = msgspec.json.encode(read_back(settings.asked(variables)))
    (watched / f"{stem}.sysctls").write_bytes(sysctls)
    return server.serve(command, watched / f"{stem}.jsonl")


def client(arm: str, variables: Mapping[str, str]) -> str:
    """Run one trial of an arm; return the line with its result."""
    return ClientContainer(arm, current(), settings.asked(variables)).run()


def role(words: Sequence[str]) -> int:
    """Run `plan`, `server ARM`, `client ARM`, `host` or `report` as compose.yaml's variables say.

    Raises:
        ValueError: for other words, or a variable that cannot be.
        OSError: when the container lacks something.
    """
    variables = dict(os.environ)
    match words:
        case ["plan"]:
            found = plan(variables)
            print(
                f"{found.trials} trials of each arm, {found.rate:g}/s for {found.duration:g} s each",
                flush=True,
            )
        case ["server", arm]:
            return serve(arm, variables)
        case ["client", arm]:
            print(client(arm, variables), flush=True)
        case ["host"]:
            watch_host()
        case ["report"]:
            return report()
        case [("plan" | "server" | "client" | "host" | "report"), *_]:
            raise ValueError(f"not an order: {' '.join(words)}")
        case _:
            raise ValueError(f"no such role: {' '.join(words[:1]) or 'none given'}")
    return 0
