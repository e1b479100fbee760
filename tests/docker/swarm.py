"""A Docker Swarm of several nodes on one machine: an engine a node, each in a network of its own.

    control ── bridge ── node-1 … node-n, server

Every host is a set of namespaces that end with its first process, so that nothing of it is ever in
this machine's network, among its mounts or its processes. Swarm's overlay networks work between them,
but for virtual addresses, which take IPVS.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeVar

PREFIX: Final = "198.18.250"
CONTROL: Final = f"{PREFIX}.254"
SERVER: Final = f"{PREFIX}.200"
_PATIENCE: Final = 60.0
"""Seconds for an engine to answer, or to see what another does."""


class Host:
    """A network, mounts, a name and processes of its own.

    Its first process is a child of ours. When that ends, because we say so or because we have been
    killed ourselves, the kernel ends all others in its PID namespace, and with them the host is gone:
    nobody looks for processes to end.
    """

    def __init__(self, name: str) -> None:
        self._holder = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--net", "--mount", "--uts", "--propagation", "private"),
                *("--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-ec", 'hostname "$0"; ip link set lo up; echo up; exec sleep infinity'),
                name,
            ],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n", name
        self.pid = int(self._children()[0])
        """Its first process."""

    def _children(self) -> list[str]:
        pid = self._holder.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def inside(self, *command: str) -> list[str]:
        """Return the command as one that is carried out in it."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--uts", "--pid", *command]

    def connected(self, *command: str) -> list[str]:
        """Return the command as one of this machine's processes in its network."""
        return ["nsenter", f"--target={self.pid}", "--net", *command]

    def run(self, *command: str) -> str:
        """Carry out a command in it; return what it says."""
        return checked(*self.inside(*command))

    def close(self) -> None:
        """End it and everything in it."""
        self._holder.kill()
        self._holder.communicate()


class Node(Host):
    """One engine. Its data is in memory."""

    def __init__(self, number: int, folder: Path) -> None:
        self.name = f"node-{number}"
        super().__init__(self.name)
        self.address = f"{PREFIX}.{number}"
        self.socket = f"unix://{folder}/{self.name}.sock"
        self._folder = folder / self.name
        self._log = folder / f"{self.name}.log"
        self._engine: subprocess.Popen[bytes] | None = None
        self._folder.mkdir()
        self.run("mount", "-t", "tmpfs", "tmpfs", str(self._folder))

    def start(self) -> None:
        """Start the engine; see `ready`."""
        with self._log.open("ab") as log:
            self._engine = subprocess.Popen(
                self.inside(
                    *("dockerd", "--host", self.socket, "--bridge", "none"),
                    *("--data-root", f"{self._folder}/data", "--exec-root", f"{self._folder}/exec"),
                    *("--pidfile", f"{self._folder}/pid"),
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self) -> bool:
        """Whether the engine answers."""
        assert self._engine is not None
        assert self._engine.poll() is None, self._log.read_text()[-2000:]
        done = subprocess.run(
            ["docker", "--host", self.socket, "version"], capture_output=True, check=False
        )
        return done.returncode == 0

    def kill(self) -> None:
        """End the engine at once; what runs in its containers goes on."""
        assert self._engine is not None
        self.run("sh", "-c", f"kill -KILL $(cat {self._folder}/pid)")
        self._engine.wait()
        # Nobody reaps the dead here, and the next engine would take its containerd's number for alive.
        self.run("rm", f"{self._folder}/exec/containerd/containerd.pid")

    def docker(self, *arguments: str) -> str:
        """Ask the engine."""
        return checked("docker", "--host", self.socket, *arguments)

    def close(self) -> None:
        """End the engine and all that it has started."""
        super().close()
        if self._engine is not None:
            self._engine.wait()


class Swarm:
    """The first node is the only manager."""

    def __init__(self, nodes: Sequence[Node], control: Host, server: Host) -> None:
        self.nodes = nodes
        self.control = control
        self.server = server

    @property
    def manager(self) -> Node:
        """The node that control talks to."""
        return self.nodes[0]

    def join(self, node: Node) -> None:
        """Make a node a worker, again if it has been one."""
        token = self.manager.docker("swarm", "join-token", "--quiet", "worker").strip()
        node.docker("swarm", "join", "--token", token, f"{self.manager.address}:2377")

    def states(self) -> list[tuple[str, str]]:
        """Return the nodes that the manager knows, each with its state."""
        found = self.manager.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}")
        return sorted((name, state) for name, state in map(str.split, found.splitlines()))


_H = TypeVar("_H", bound=Host)


@contextmanager
def swarm(image: str, count: int = 3) -> Iterator[Swarm]:
    """Make a swarm whose nodes have an image."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="churnlab-swarm-"))
        stack.callback(shutil.rmtree, folder)

        def kept(host: _H) -> _H:
            stack.callback(host.close)
            return host

        control, server = kept(Host("control")), kept(Host("server"))
        nodes = [kept(Node(number, folder)) for number in range(1, count + 1)]
        _connect(control, {SERVER: server} | {node.address: node for node in nodes})
        for node in nodes:
            node.start()
        archive = folder / "image.tar"
        checked("docker", "save", "--output", str(archive), image)
        until(lambda: all(node.ready() for node in nodes), "the engines")
        loads = [
            subprocess.Popen(
                ["docker", "--host", node.socket, "load", "--quiet", "--input", str(archive)],
                stdout=subprocess.DEVNULL,
            )
            for node in nodes
        ]
        found = Swarm(nodes, control, server)
        found.manager.docker("swarm", "init", "--advertise-addr", found.manager.address)
        for node in nodes[1:]:
            found.join(node)
        assert not any(load.wait() for load in loads)
        archive.unlink()
        yield found


def _connect(bridge: Host, others: dict[str, Host]) -> None:
    """Join hosts by a bridge on one of them."""
    bridge.run("ip", "link", "add", "name", "bridge", "type", "bridge")
    bridge.run("ip", "address", "add", f"{CONTROL}/24", "dev", "bridge")
    bridge.run("ip", "link", "set", "bridge", "up")
    for number, (address, host) in enumerate(others.items()):
        port = f"port-{number}"
        # In its network only: a process elsewhere has no number in its PID namespace.
        checked(
            *bridge.connected("ip", "link", "add", port, "type", "veth"),
            *("peer", "name", "eth0", "netns", str(host.pid)),
        )
        bridge.run("ip", "link", "set", port, "master", "bridge", "up")
        host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")


def checked(*command: str) -> str:
    """Carry out a command that must succeed; return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def until(true: Callable[[], object], what: str, patience: float = _PATIENCE) -> None:
    """Wait until something is so."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"waited {patience:g} s for {what}"
        time.sleep(0.05)
