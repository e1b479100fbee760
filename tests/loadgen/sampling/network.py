"""Two namespaces on a veth pair in 198.18.0.0/15, made and left to the tests."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadgen.sampling.namespace import new_namespace, run_inside

CLIENT, SECOND_CLIENT, SERVER = "198.18.79.1", "198.18.79.3", "198.18.79.2"


def run(*command: str) -> None:
    """Run a command to its end."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@dataclass
class Pair:
    """A client's and a server's namespace, by descriptor."""

    client: int
    server: int

    def listen(self, port: int = 11211, backlog: int = 64) -> socket.socket:
        """Return a listener in the server's namespace."""

        def make() -> socket.socket:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((SERVER, port))
            listener.listen(backlog)
            return listener

        return run_inside(self.server, make)

    def connect(
        self, port: int = 11211, *, source: str = CLIENT, source_port: int = 0, mapped: bool = False
    ) -> socket.socket:
        """Return a connection from the client's namespace, IPv4 in an IPv6 socket if `mapped`."""

        def make() -> socket.socket:
            if mapped:
                sock = socket.socket(socket.AF_INET6)
                sock.connect((f"::ffff:{SERVER}", port))
                return sock
            sock = socket.socket()
            if source_port:
                sock.bind((source, source_port))
            elif source != CLIENT:
                sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
                sock.bind((source, 0))
            sock.connect((SERVER, port))
            return sock

        return run_inside(self.client, make)

    def churn(self, listener: socket.socket, count: int, *, source: str = CLIENT) -> None:
        """Open and close `count` connections; the client closes first and keeps the TIME_WAIT."""
        for _ in range(count):
            near = self.connect(listener.getsockname()[1], source=source)
            far, _ = listener.accept()
            near.close()
            assert far.recv(1) == b""  # the client's FIN is here, so ours is the second
            far.close()

    def set_client(self, key: str, value: str) -> None:
        """Set a sysctl, a path under /proc/sys, in the client's namespace."""
        run_inside(self.client, lambda: Path("/proc/sys", key).write_text(value))


def make_pair() -> Pair:
    """Return two joined namespaces. They live as long as their descriptors."""
    pair = Pair(new_namespace(), new_namespace())
    other = f"/proc/{os.getpid()}/fd/{pair.server}"
    veth = ("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", other)
    run_inside(pair.client, partial(run, "ip", *veth))
    for namespace, device, addresses in (
        (pair.client, "near", (CLIENT, SECOND_CLIENT)),
        (pair.server, "far", (SERVER,)),
    ):
        commands = [f"addr add {address}/24 dev {device}" for address in addresses]
        commands += [f"link set {device} up", "link set lo up"]
        for command in commands:
            run_inside(namespace, partial(run, "ip", *command.split()))
    return pair
