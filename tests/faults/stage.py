"""A small stage for one fault: namespaces, servers in them, and a load.

Everything lives in fresh namespaces that this process holds by descriptor, and every process on the
stage dies with this one: nothing is left on the machine, whatever ends a run.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.testbed.processes import Child, spawn, tool
from loadgen.run import rundir
from loadgen.sample import ROLE_GENERATOR, Sample
from loadgen.sampling.namespace import run_inside
from loadgen.summary import Summary
from tests.faults.network import INNER, PORT, SERVER, Network

TARGET = f"{SERVER}:{PORT}"
_READY_WITHIN = 10.0
_PATIENCE = 30.0


class Stage:
    """One fault's namespaces and processes; a context manager.

    Args:
        directory: where the run directory and logs go.
        middle: put a box between client and server, to be sampled under this role.
        watched: roles whose namespaces `loadgen run` is told of; None for all there are.
        known_as: the role under which the box is sampled where that is not what it is.
    """

    def __init__(
        self,
        directory: Path,
        *,
        middle: str = "",
        watched: Sequence[str] | None = None,
        known_as: str = "",
    ) -> None:
        self.directory = directory
        self.run_directory = directory / "run"
        self._stack = ExitStack()
        self.network = Network(middle=bool(middle))
        sides = {"server": self.network.server}
        if self.network.middle is not None and self.network.other is not None:
            sides |= {known_as or middle: self.network.middle, "client-2": self.network.other}
        self._watched = {
            role: side for role, side in sides.items() if watched is None or role in watched
        }
        self.target = f"{INNER}:{PORT}" if middle == "proxy" else TARGET
        self.servers: list[Child] = []
        """In the order they were started."""
        self._load: Child | None = None

    def __enter__(self) -> Self:
        """Wire the namespaces up."""
        self._stack.enter_context(self.network)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every process and let the namespaces go."""
        self._stack.close()

    # --- servers ----------------------------------------------------------------------------

    def start(
        self, *command: str, address: tuple[str, int] = (SERVER, PORT), namespace: int | None = None
    ) -> None:
        """Start a server, in the server's namespace by default, and wait until it listens."""
        where = self.network.server if namespace is None else namespace
        log = os.open(self.directory / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            child = spawn(list(command), namespace=where, output=log)
        finally:
            os.close(log)
        self._stack.callback(child.kill)
        self.servers.append(child)
        self._await_listener(child, address, where)

    def haproxy(self, *settings: str) -> None:
        """Start an haproxy in the box that passes every connection on to the server."""
        file = self.directory / "haproxy.cfg"
        file.write_text(
            "global\n    nbthread 1\n    maxconn 2000\ndefaults\n    mode tcp\n    retries 0\n"
            "    timeout connect 1s\n    timeout client 10s\n    timeout server 10s\n"
            + "".join(f"    {line}\n" for line in settings)
            + f"listen memcached\n    bind {INNER}:{PORT}\n    server one {SERVER}:{PORT}\n"
        )
        self.start(
            *(tool("haproxy"), "-db", "-f", str(file)),
            address=(INNER, PORT),
            namespace=self.network.middle,
        )

    def memcached(self, *options: str) -> None:
        """Start a memcached."""
        self.start(
            *(tool("memcached"), "-u", "root", "-l", SERVER, "-p", str(PORT), "-U", "0"),
            *("-t", "2", "-c", "2000", *options),
        )

    def tls(self) -> list[str]:
        """Return memcached's options for TLS, with a certificate made for this stage."""
        key, certificate = self.directory / "key.pem", self.directory / "certificate.pem"
        subprocess.run(
            [
                *(tool("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "1"),
                *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=memcached"),
                *("-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        return ["-Z", "-o", f"ssl_chain_cert={certificate},ssl_key={key}"]

    def passwords(self) -> list[str]:
        """Return memcached's options for authentication."""
        file = self.directory / "users"
        file.write_text("somebody:secret\n")
        return ["-Y", str(file)]

    def misbehaving(self, manner: str, *arguments: str) -> None:
        """Start a server of `tests.faults.servers`."""
        script = Path(__file__).with_name("servers.py")
        self.start(sys.executable, "-I", str(script), SERVER, str(PORT), manner, *arguments)

    def _await_listener(self, child: Child, address: tuple[str, int], namespace: int) -> None:
        wanted = f":{address[1]:04X} 00000000:0000 0A"
        table = Path("/proc/thread-self/net/tcp")
        give_up = time.monotonic() + _READY_WITHIN
        while wanted not in run_inside(namespace, table.read_text):
            if child.returncode is not None or time.monotonic() > give_up:
                raise RuntimeError((self.directory / "server.log").read_text())
            time.sleep(0.01)  # between two looks; the loop ends on what it sees

    def use_ports(self, number: int, role: str = "client") -> None:
        """Leave `number` of a side's ports in TIME_WAIT toward the server, as an earlier load."""

        def connect() -> None:
            for _ in range(number):
                with socket.create_connection((SERVER, PORT), timeout=_READY_WITHIN):
                    pass

        run_inside(self.network.side(role), connect)

    def leave_time_wait(self, number: int, role: str) -> None:
        """Make `number` connections of a side that the server closes first, and keeps in TIME_WAIT."""

        def connect() -> None:
            for _ in range(number):
                with socket.create_connection((SERVER, PORT), timeout=_READY_WITHIN) as made:
                    made.sendall(b"quit\r\n")
                    made.recv(1)

        run_inside(self.network.side(role), connect)

    def hold(self, number: int, role: str = "server") -> None:
        """Open `number` connections to the target, from the server's namespace or a side's, and keep them.

        Those beyond its limit are left trying.
        """

        def connect() -> list[socket.socket]:
            made = [socket.socket() for _ in range(number)]
            for sock in made:
                sock.setblocking(False)
                sock.connect_ex((self.target.partition(":")[0], PORT))
            return made

        for sock in run_inside(self.network.side(role), connect):
            self._stack.callback(sock.close)

    # --- the load ---------------------------------------------------------------------------

    def load(self, *options: str, prefix: Sequence[str] = ()) -> None:
        """Start `loadgen run` in the client's namespace.

        Args:
            options: of its command line, beside those that every fault has.
            prefix: a command to run it under, such as prlimit(1).
        """
        command = [
            *prefix,
            *(sys.executable, "-m", "loadgen", "run", self.target, "--workers", "1", "--quiet"),
            *("--out", str(self.run_directory), "--key-space", "10"),
            # Several faults are provoked at a time, on machines with other work: a generator that
            # is late is no fault, but where it is the one that is provoked.
            *("--max-lateness", "3s"),
            *options,
        ]
        for role, descriptor in self._watched.items():
            command += ["--netns", f"{role}=/proc/self/fd/{descriptor}"]
        log = os.open(self.directory / "load.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        inherit = list(self._watched.values())
        try:
            self._load = spawn(command, namespace=self.network.client, output=log, inherit=inherit)
        finally:
            os.close(log)
        self._stack.callback(self._load.kill)

    def keep_flooding(self) -> None:
        """Start a process on the client's side that sends half-open connections until the end."""
        script = Path(__file__).with_name("flood.py")
        log = os.open(self.directory / "flood.log", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            command = [sys.executable, "-I", str(script), SERVER, str(PORT)]
            child = spawn(command, namespace=self.network.client, output=log)
        finally:
            os.close(log)
        self._stack.callback(child.kill)

    def limit_workers(self, files: int) -> None:
        """Give the load's workers, from now on, so many open files at most."""
        assert self._load is not None
        pid = self._load.pid
        for worker in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            resource.prlimit(int(worker), resource.RLIMIT_NOFILE, (files, files))

    def limit_server(self, files: int) -> None:
        """Give the server, from now on, so many open files at most."""
        resource.prlimit(self.servers[-1].pid, resource.RLIMIT_NOFILE, (files, files))

    def open_files(self) -> int:
        """Return how many files the server has open."""
        return len(list(Path(f"/proc/{self.servers[-1].pid}/fd").iterdir()))

    def until(self, true: Callable[[Sample], object], what: str) -> None:
        """Wait until a sample of the generator shows what is waited for.

        Raises:
            RuntimeError: when the load ends before that.
        """
        assert self._load is not None
        give_up = time.monotonic() + _PATIENCE
        while not any(map(true, self._generator())):
            if self._load.returncode is not None or time.monotonic() > give_up:
                raise RuntimeError(f"never saw {what}: {self.said()}")
            time.sleep(0.02)  # between two looks; the loop ends on what it sees

    def until_time(self, t: float) -> None:
        """Wait until `t` seconds of the run have passed, as its samples tell."""
        self.until(lambda sample: sample.t >= t, f"the run's {t:g} s")

    def _generator(self) -> Iterable[Sample]:
        return (s for s in rundir.read_samples(self.run_directory) if s.role == ROLE_GENERATOR)

    def said(self) -> str:
        """Return what the load printed."""
        with suppress(OSError):
            return (self.directory / "load.log").read_text()
        return ""

    def finish(self) -> Summary:
        """Wait for the load's end and return its summary.

        Raises:
            RuntimeError: when there is none.
        """
        assert self._load is not None
        try:
            code = self._load.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the load does not end: {self.said()}") from None
        summary = rundir.read_summary(self.run_directory)
        if summary is None:
            raise RuntimeError(f"no summary, exit code {code}: {self.said()}")
        return summary
