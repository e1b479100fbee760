"""Labs and runs that are killed at random moments: is anything left of them?

    python -m bench.kills --count 100 --image churnlab

Each job is started with a mark in its environment and gets a signal at a random moment of its first
seconds, after the 0.3 s in which the interpreter reads its own modules: kill -9 in six of ten cases,
else SIGTERM or Ctrl-C. Then nothing with the mark may be alive, no traceback may have been shown, and
after `lab restore` the host must be as it was: its sysctls under net/ and nf_conntrack's, its
interfaces, its named namespaces, and what the lab has on the Docker engine. Ends with 1 when not.

The job `host` raises this host's nf_conntrack_max by one with --allow-host-sysctls; it and `docker` are left
out where they cannot be.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bench import command
from bench.table import table
from lab.testbed.base import TestbedError
from lab.testbed.docker.engine import Engine
from lab.testbed.host.journal import JournalPlace
from loadgen.target import endpoint
from tests.loadgen.memcached import Memcached

_MARK: Final = "CHURNLAB_KILLS"
_MAX: Final = "net.netfilter.nf_conntrack_max"
_PATIENCE: Final = 15.0
"""Seconds that processes have to end."""
_SIGNALS: Final = (
    *(signal.SIGKILL,) * 6,
    signal.SIGTERM,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGINT,
)
_FEW: Final = "net.ipv4.ip_local_port_range = 20000 20599\n"
_MANY: Final = "net.ipv4.ip_local_port_range = 20000 23999\nnet.ipv4.tcp_tw_reuse = 1\n"
_LOAD: Final = ("--rate", "500", "--duration", "1s", "--trials", "2")
_ARMS: Final = ("--before", "./few.conf", "--after", "./many.conf")


@dataclass(frozen=True)
class Job:
    """A command that is killed."""

    name: str
    words: tuple[str, ...]
    span: float
    """Seconds after its start within which the signal comes."""


def jobs(target: str, image: str) -> list[Job]:
    """Return what can be run here."""
    found = [
        Job("loadgen run", ("loadgen", "run", target, "--rate", "500", "--duration", "5s"), 3.0),
        Job("lab run", ("lab", "run", *_ARMS, *_LOAD), 6.0),
        Job("lab claims", ("lab", "claims"), 8.0),
        Job("lab sweep", ("lab", "sweep", "--tuning", "./few.conf", "--duration", "1s"), 8.0),
        Job("lab ablate", ("lab", "ablate", "--after", "./many.conf", "--rate", "500", "--duration", "1s"), 6.0),
    ]  # fmt: skip
    if image:
        docker = ("lab", "run", "--testbed", "docker", "--image", image, *_ARMS, *_LOAD)
        found.append(Job("docker", docker, 10.0))
    if os.geteuid() == 0 and (JournalPlace().root / "net/netfilter/nf_conntrack_max").exists():
        arms = ("--before", "./few.conf", "--after", "./host.conf")
        found.append(Job("host", ("lab", "run", *arms, *_LOAD, "--allow-host-sysctls"), 6.0))
    return found


def sysctls() -> dict[str, str]:
    """Return the values under net/ that belong to no single interface."""
    found = {}
    for folder, folders, names in os.walk("/proc/sys/net"):
        folders[:] = [name for name in folders if name not in {"conf", "neigh"}]
        for path in (Path(folder, name) for name in names):
            with suppress(OSError):
                if path.stat().st_mode & 0o200:  # what nobody may write is a count
                    found[str(path)] = path.read_text()
    return found


def interfaces() -> set[str]:
    """Return the names of this namespace's interfaces but for those that an engine makes."""
    names = {path.name for path in Path("/sys/class/net").iterdir()}
    return {name for name in names if not name.startswith(("br-", "veth", "docker"))}


def namespaces() -> set[str]:
    """Return the names of namespaces that `ip netns` knows."""
    place = Path("/run/netns")
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


def marked(mark: str) -> list[int]:
    """Return the processes that were started with the mark in their environment."""
    found = []
    for path in Path("/proc").iterdir():
        with suppress(OSError):
            if path.name.isdecimal() and f"{_MARK}={mark}".encode() in (
                path / "environ"
            ).read_bytes().split(b"\0"):
                found.append(int(path.name))
    return found


def on_the_engine(pid: int) -> list[str]:
    """Return what a lab process has on the engine, by name; nothing where there is no engine."""
    try:
        with closing(Engine()) as engine:
            return [one.name for one in engine.leftovers() if one.owner.pid == pid]
    except TestbedError:
        return []


def kill(job: Job, number: int, moment: float, sent: signal.Signals, image: str) -> list[str]:
    """Run a job, send the signal, restore; return what is left."""
    mark = f"{os.getpid()}-{number}"
    before = sysctls(), interfaces(), namespaces()
    left: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "few.conf").write_text(_FEW)
        (here / "many.conf").write_text(_MANY)
        with suppress(OSError):
            most = int(Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())
            (here / "host.conf").write_text(f"{_MANY}{_MAX} = {most + 1}\n")
        environment = {**os.environ, "CHURNLAB_STATE": f"{folder}/state", _MARK: mark}
        with Path(folder, "said").open("w+") as said:
            process = _start(job.words, here, environment, said)
            time.sleep(moment)
            process.send_signal(sent)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                left.append(f"{sent.name} did not end it in {_PATIENCE:g} s")
                process.kill()
                process.wait()
            said.seek(0)
            if any(word in said.read() for word in ("Traceback", "error: unexpected")):
                left.append("unexpected")
        end = time.monotonic() + _PATIENCE
        while (alive := marked(mark)) and time.monotonic() < end:
            time.sleep(0.05)
        left += [f"process {pid}" for pid in alive]
        with Path(folder, "restored").open("w+") as said:
            restored = _start(("lab", "restore"), here, environment, said)
            if restored.wait(120) != 0:
                said.seek(0)
                left.append(f"lab restore ended with {restored.returncode}: {said.read()[:200]}")
        if image:
            left += [f"{name} on the engine" for name in on_the_engine(process.pid)]
    values, names, spaces = before
    now = sysctls()
    left += [
        f"{key} = {now.get(key)!r}, was {was!r}"
        for key, was in values.items()
        if now.get(key) != was
    ]
    left += [f"interface {name}" for name in interfaces() ^ names]
    left += [f"namespace {name}" for name in namespaces() ^ spaces]
    return left


def _start(
    words: tuple[str, ...], here: Path, environment: Mapping[str, str], said: IO[str]
) -> subprocess.Popen[bytes]:
    module, *arguments = words
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=here,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )


def main() -> None:
    parser = command.options(__doc__, "kills")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--image", default="", help="of the containers; none: without the job docker"
    )
    parser.add_argument("--only", default="", help="jobs whose name has this in it")
    chosen: argparse.Namespace = parser.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # In the background, or under nohup, and so would be the jobs that are interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    print(command.machine(), flush=True)
    dice = random.Random(chosen.seed)
    done: Counter[tuple[str, str]] = Counter()
    clean: Counter[str] = Counter()
    with Memcached() as server:
        known = [
            job for job in jobs(endpoint(*server.address), chosen.image) if chosen.only in job.name
        ]
        for number in range(chosen.count):
            job = known[number % len(known)]
            moment, sent = dice.uniform(0.3, job.span), dice.choice(_SIGNALS)
            left = kill(job, number, moment, sent, chosen.image)
            done[job.name, sent.name] += 1
            clean[job.name] += not left
            told = "; ".join(left) or "nothing left"
            print(
                f"{number}: {job.name}, {sent.name} after {moment:.2f} s: {told}",
                file=sys.stderr,
                flush=True,
            )
    rows = []
    for job in known:
        counts = [done[job.name, name] for name in ("SIGKILL", "SIGTERM", "SIGINT")]
        rows.append((job.name, *map(str, counts), f"{clean[job.name]} of {sum(counts)}"))
    print(table(("job", "kill -9", "SIGTERM", "Ctrl-C", "nothing left"), rows))
    total = sum(clean.values())
    print(f"{total} of {chosen.count} left nothing")
    sys.exit(0 if total == chosen.count else 1)


if __name__ == "__main__":
    main()
