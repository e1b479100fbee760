"""The namespaces of a stage: a client's and a server's, some box between them if asked.

    client 198.18.0.1 ── veth ── 198.19.0.1 server          client ── veth ── middle ── veth ── server
                                                          client-2 ── veth ──┘

The box forwards; rules make it a NAT, and a program in it that connects to the server a proxy.

Nothing of it is left on the machine, whatever ends a run: the namespaces are held by descriptor alone.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.testbed import tracking
from lab.testbed.processes import enter, tool
from loadgen.sampling.namespace import new_namespace, run_inside

CLIENT, SERVER = "198.18.0.1", "198.19.0.1"
OTHER = "198.18.128.1"
"""The second client's, where there is a box for it to come through."""
INNER, OUTER = "198.18.0.254", "198.19.0.254"
"""The box's, toward the client and toward the server."""
PORT = 11211
_TABLE = "churnlab"


class Network:
    """The namespaces, wired up; a context manager.

    Args:
        middle: put a box between client and server, and a second client beside the first.
    """

    def __init__(self, *, middle: bool) -> None:
        self._stack = ExitStack()
        self.client = self._namespace()
        self.server = self._namespace()
        self.middle = self._namespace() if middle else None
        self.other = self._namespace() if middle else None

    def _namespace(self) -> int:
        descriptor = new_namespace()
        self._stack.callback(os.close, descriptor)
        return descriptor

    def __enter__(self) -> Self:
        """Wire the namespaces up."""
        client = [f"addr add {CLIENT}/16 dev lan", "link set lo up", "link set lan up"]
        server = [f"addr add {SERVER}/16 dev lan", "link set lo up", "link set lan up"]
        if self.middle is None:
            self.ip(
                self.client,
                f"link add lan type veth peer name lan netns /proc/self/fd/{self.server}",
                *client,
                f"route add 198.19.0.0/16 via {SERVER} dev lan onlink",
            )
            self.ip(self.server, *server, f"route add 198.18.0.0/16 via {CLIENT} dev lan onlink")
            return self
        for number, (end, commands, other) in enumerate(
            ((self.client, client, "198.19.0.0/16"), (self.server, server, "198.18.0.0/16"))
        ):
            gateway = (INNER, OUTER)[number]
            self.ip(
                end,
                f"link add lan type veth peer name lan{number} netns /proc/self/fd/{self.middle}",
                *commands,
                f"route add {other} via {gateway}",
            )
            self.ip(
                self.middle,
                f"addr add {gateway}/16 dev lan{number}",
                f"link set lan{number} up",
            )
        assert self.other is not None
        self.ip(
            self.other,
            f"link add lan type veth peer name lan2 netns /proc/self/fd/{self.middle}",
            f"addr add {OTHER}/24 dev lan",
            "link set lo up",
            "link set lan up",
            "route add default via 198.18.128.254",
        )
        self.ip(self.middle, "addr add 198.18.128.254/24 dev lan2", "link set lan2 up")
        self.ip(self.middle, "link set lo up")
        self.sysctl(self.middle, "net.ipv4.ip_forward", "1")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the namespaces go."""
        self._stack.close()

    def side(self, role: str) -> int:
        """Return the namespace of `client`, `client-2`, `server` or `middle`."""
        descriptor = {
            "client": self.client,
            "client-2": self.other,
            "server": self.server,
            "middle": self.middle,
        }[role]
        assert descriptor is not None
        return descriptor

    def inside(self, namespace: int, call: Callable[[], object]) -> None:
        """Call something inside a namespace."""
        run_inside(namespace, call)

    def command(self, namespace: int, *words: str, text: str = "") -> str:
        """Run a system tool inside a namespace and return what it printed.

        Raises:
            RuntimeError: when it fails, with what it said.
        """
        inherit = [
            fd for fd in (self.client, self.server, self.middle, self.other) if fd is not None
        ]
        done = subprocess.run(
            [*enter(namespace), tool(words[0]), *words[1:]],
            input=text.encode(),
            capture_output=True,
            pass_fds=inherit,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def ip(self, namespace: int, *commands: str) -> None:
        """Run ip(8) commands inside a namespace."""
        self.command(namespace, "ip", "-batch", "-", text="\n".join(commands) + "\n")

    def sysctl(self, namespace: int, name: str, value: str) -> None:
        """Write a sysctl inside a namespace."""
        path = Path("/proc/sys", name.replace(".", "/"))
        run_inside(namespace, lambda: path.write_text(value))

    def masquerade(self, to: str = "") -> None:
        """Make the box a NAT: what leaves for the server gets its address, and ports of `to`."""
        assert self.middle is not None
        self.command(
            self.middle,
            "nft",
            "-f",
            "-",
            text=f"table ip {_TABLE}_nat {{\nchain out {{\n"
            "type nat hook postrouting priority 100; policy accept;\n"
            f"oifname lan1 meta l4proto tcp masquerade {to}\n}}\n}}\n",
        )

    def rule(self, namespace: int, hook: str, rule: str) -> None:
        """Add an nft rule to a chain of its own at `hook`: prerouting, input, forward or output."""
        self.command(
            namespace,
            "nft",
            "-f",
            "-",
            text=f"table inet {_TABLE} {{ chain {hook} {{\n"
            f"type filter hook {hook} priority 0; policy accept;\n{rule}\n}}\n}}\n",
        )

    def lose(self, namespace: int, percent: int) -> None:
        """Lose some of the SYN/ACKs that reach the namespace's device, before anything counts them."""
        self.command(
            namespace,
            "nft",
            "-f",
            "-",
            text=f"table netdev {_TABLE} {{\nchain loss {{\n"
            "type filter hook ingress device lan priority 0; policy accept;\n"
            f"tcp flags & (syn|ack) == (syn|ack) numgen random mod 100 < {percent} drop\n}}\n}}\n",
        )

    def track(self, namespace: int) -> None:
        """Make the namespace track connections."""
        tracking.enable(namespace)

    def fill_conntrack(self, namespace: int, room: int) -> None:
        """Fill the namespace's table with entries of others, leaving `room` for our own."""
        tracking.fill(namespace, tracking.room(namespace) - room)
        lacking = tracking.room(namespace) - room
        if lacking > 0:
            raise RuntimeError(f"the table has room for {lacking} entries more than it should")
