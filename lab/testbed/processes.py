"""Processes that live in a network namespace and never outlive the lab.

`kill -9` gives the lab no chance to clean up, so the kernel does it: each child asks for SIGKILL at
its parent's death (PR_SET_PDEATHSIG, prctl(2)). Four facts decide how a child is started:

- The "parent" is the *thread* that forked. trio.lowlevel.open_process forks in a worker thread,
  which may end at any time; so the main thread forks here, and the few milliseconds are paid.
- The request survives execve(2), but a change of user or group id clears it. A memcached that is
  told to become another user is a memcached that outlives the lab: it must stay who it is.
- A parent that died before the request was made sends nothing. Once the request stands, the child
  compares its parent with the lab, and leaves if it was orphaned in between.
- A child in a process group of its own does not see the terminal's Ctrl-C: the lab alone does, and
  decides who is told, once, and in which order.

No preexec_fn: it would run Python between fork and exec. setpriv, nsenter and sh do each step, and
each replaces the one before, so that the process id known here is the command's own.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Final

import trio

from lab.testbed.base import TestbedError, UntestableError
from loadgen.run.environment import describe
from loadgen.summary import emulated
from loadgen.units import spaced

PATIENCE: Final = 30.0
"""Seconds a tool may take. The longest, conntrack with 262,144 entries, takes about 2."""

EMULATED_SLOWER: Final = 6.0
"""Times that limits of time stretch on emulated processors, which are some ten times slower."""

# $0: the lab's process id; $1: the open-files limit to ask for; the rest: the command.
_LAST_STEP = '[ "$PPID" = "$0" ] || exit 1; ulimit -S -n "$1" || exit 1; shift; exec "$@"'
# Debian leaves these out of an ordinary user's PATH, and keeps ip and tc there.
_SYSTEM_PATH = "/usr/sbin:/sbin"
_PACKAGES = {
    "memcached": "memcached",
    "redis-server": "redis-server",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "haproxy": "haproxy",
    "nutcracker": "nutcracker",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}


@cache
def slowness() -> float:
    """Return by how much limits of time are stretched here: 1, but on emulated processors."""
    return EMULATED_SLOWER if emulated(describe()) else 1.0


def tool(name: str) -> str:
    """Return the path of a system tool.

    Raises:
        TestbedError: when it is not installed; the message names the package.
    """
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), _SYSTEM_PATH))
    path = shutil.which(name, path=search)
    if path is None:
        package = _PACKAGES.get(name, name)
        raise TestbedError(f"{name} is not installed", f"install it with: apt install {package}")
    return path


def enter(namespace: int) -> list[str]:
    """Return the command prefix that enters the namespace; the child must inherit `namespace`."""
    return [tool("nsenter"), f"--net=/proc/self/fd/{namespace}", "--"]


def run_tool(
    namespace: int,
    command: Sequence[str],
    *,
    text: bytes = b"",
    inherit: Sequence[int] = (),
    patience: float = PATIENCE,
) -> str:
    """Run a system tool in the namespace and return what it printed.

    Args:
        namespace: a descriptor of the network namespace.
        command: the tool's name and its arguments.
        text: its standard input.
        inherit: descriptors that it finds open under the same numbers.
        patience: seconds that it may take.

    Raises:
        TestbedError: when it is not installed.
        UntestableError: when it fails, with what it said, or takes longer than that.
    """
    patience *= slowness()
    try:
        done = subprocess.run(
            [*enter(namespace), tool(command[0]), *command[1:]],
            input=text,
            capture_output=True,
            pass_fds=(namespace, *inherit),
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UntestableError(f"{command[0]} took longer than {patience:g} s here") from None
    if done.returncode != 0:
        said = spaced(done.stderr.decode(errors="replace"))[:300]
        raise UntestableError(f"{command[0]} failed: {said or f'exit code {done.returncode}'}")
    return done.stdout.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Child:
    """A process that `spawn` started, with the process group it leads."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The command's own process id."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """As in `subprocess`; None while it runs."""
        return self.process.poll()

    async def wait(self) -> int:
        """Wait for its end and return the exit code, negative for a signal."""
        if self.process.poll() is None:
            descriptor = os.pidfd_open(self.process.pid)
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        return self.process.wait()

    async def interrupt(self, grace: float) -> None:
        """Send SIGINT, wait up to `grace` seconds even when cancelled, then kill what is left."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            with trio.move_on_after(grace, shield=True):
                await self.wait()
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill its whole process group at once and reap it. A second call does nothing."""
        # Unreaped, the leader keeps its id, and so the group's, from being given to another.
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def spawn(
    command: Sequence[str],
    *,
    namespace: int,
    output: int,
    inherit: Sequence[int] = (),
) -> Child:
    """Start `command` in the network namespace; it is killed when this process dies.

    Args:
        command: the program, which must not change its user or group id, and its arguments.
        namespace: a descriptor of the network namespace.
        output: a descriptor that standard output and standard error go to.
        inherit: further descriptors that the program finds open under the same numbers.

    Raises:
        TestbedError: when setpriv or nsenter is missing.
        RuntimeError: from any thread but the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("only the main thread lives as long as the lab; spawn from there")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    process = subprocess.Popen(
        [
            *(tool("setpriv"), "--pdeathsig", "KILL", "--"),
            *enter(namespace),
            *("sh", "-c", _LAST_STEP, str(os.getpid()), limit),
            *command,
        ],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(namespace, *inherit),
        process_group=0,
    )
    return Child(process)
