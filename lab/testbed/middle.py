"""The box between client and servers: a router, a NAT or a proxy, each with the real thing in it.

    client ── veth ── lan0 [router | nat | proxy] lan1 ── veth ── server
    198.18.0.N        198.18.255.254   198.19.255.254             198.19.0.N

- *router*: forwarding, nothing else.
- *nat*: forwarding, and nftables' masquerade on the way out. NAT is connection tracking that rewrites:
  each connection has an entry in the box's table, and toward one destination its ports are those of
  the box's address, 1024 to 65535 where a client's own port is taken (nf_nat_l4proto_unique_tuple in
  net/netfilter/nf_nat_core.c), or those that the rule names. The table's size is the host's, but the
  count and the timers are the namespace's own: to put the limit within a trial's reach, the table is
  brought near its brink with entries of others.
- *proxy*: HAProxy, which opens one connection to a server for each that it takes, and so needs local
  ports as any client does, and passes on bytes of whatever protocol; or nutcracker (twemproxy), which
  speaks memcached's and Redis' and keeps a few open for all.

Both proxies read their configuration from a descriptor: nothing is written to the disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from lab.testbed.base import ProxyKind, SitePlan, TestbedError, UntestableError, most_connections
from lab.testbed.processes import Child, run_tool, spawn, tool
from lab.testbed.tracking import fill
from lab.testbed.tracking import room as free
from loadgen.sampling.namespace import run_inside

INNER: Final = "198.18.255.254"
"""The box's address toward the clients; a proxy listens there."""
OUTER: Final = "198.19.255.254"
"""The box's address toward the servers; a NAT's and a proxy's connections come from it."""
_READY_WITHIN: Final = 10.0
_OTHERS_LAST: Final = 3600
"""Seconds that the entries of others stay: longer than any trial."""
_LISTENING: Final = "0A"

_HAPROXY: Final = """global
    maxconn {most}
    nbthread 1
defaults
    mode tcp
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend clients
    bind {listen} backlog 4096
    default_backend servers
backend servers
    balance roundrobin
{servers}
"""
SPOKEN_BY_NUTCRACKER: Final = ("memcached", "redis")
"""Servers, by name, whose protocol nutcracker speaks."""
_NUTCRACKER: Final = """servers:
  listen: {listen}
  redis: {redis}
  backlog: 4096
  preconnect: true
  auto_eject_hosts: false
  servers:
{servers}
"""


def links(client_address: str, server_address: str) -> list[str]:
    """Return the ip(8) commands for the box's own end of both links, and its two routes.

    One next hop a side, as everywhere here: the neighbour table is small and shared by all.
    """
    return [
        "link set lo up",
        f"addr add {INNER}/32 dev lan0",
        f"addr add {OUTER}/32 dev lan1",
        "link set lan0 up",
        "link set lan1 up",
        f"route add 198.18.0.0/16 via {client_address} dev lan0 onlink src {INNER}",
        f"route add 198.19.0.0/16 via {server_address} dev lan1 onlink src {OUTER}",
    ]


def forward(middle: int) -> None:
    """Let the box forward packets."""
    run_inside(middle, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))


def translate(middle: int, ports: tuple[int, int] | None) -> None:
    """Give the box a masquerade rule for TCP.

    Args:
        middle: the box's namespace.
        ports: the ports that it may use for a destination; None for the kernel's choice.

    Raises:
        TestbedError: when the kernel has no NAT.
    """
    span = "" if ports is None else f" to :{ports[0]}-{ports[1]}"
    rule = (
        "table ip churnlab {\nchain out {\ntype nat hook postrouting priority 100; policy accept;\n"
        f'oifname "lan1" meta l4proto tcp masquerade{span}\n}}\n}}\n'
    )
    try:
        run_tool(middle, ["nft", "-f", "-"], text=rule.encode())
    except UntestableError as error:
        raise TestbedError(f"--topology nat cannot be had here: {error}") from None


def leave_room(middle: int, room: int) -> None:
    """Fill the box's connection table with entries of others, but for `room`.

    Raises:
        TestbedError: when connection tracking is not there, or the table has less room than that.
    """
    try:
        left = free(middle)
        if left < room:
            raise TestbedError(
                f"--nat-room {room}: the table here takes {left:,} entries in all",
                "give fewer, or `all`",
            )
        fill(middle, left - room, seconds=_OTHERS_LAST)
    except UntestableError as error:
        raise TestbedError(f"--nat-room {room}: {error}", "or give `all`") from None


@dataclass(slots=True)
class Proxy:
    """A running proxy. Its words are kept in memory: they matter only when it fails."""

    child: Child
    kind: ProxyKind
    output: int
    configuration: int

    def said(self) -> str:
        """Return what it had to say, on one line."""
        words = os.pread(self.output, 4096, 0).decode(errors="replace").split()
        return " ".join(words)[:500] or "no message"

    def close(self) -> None:
        """End it."""
        self.child.kill()
        os.close(self.output)
        os.close(self.configuration)

    async def ready(self, middle: int, port: int) -> None:
        """Wait until it listens, without a connection to it: that would take a port of its own.

        Raises:
            TestbedError: when it ends instead, or takes too long.
        """
        with trio.move_on_after(_READY_WITHIN):
            while self.child.returncode is None:
                if run_inside(middle, lambda: _listens(port)):
                    return
                await trio.sleep(0.005)
        code = self.child.returncode
        how = f"did not listen within {_READY_WITHIN:g} s" if code is None else f"ended with {code}"
        raise TestbedError(f"{self.kind} {how}: {self.said()}")


def _listens(port: int) -> bool:
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    rows = (line.split() for line in lines)
    return any(row[1].endswith(f":{port:04X}") and row[3] == _LISTENING for row in rows)


async def start_proxy(
    middle: int, plan: SitePlan, servers: Sequence[str], port: int, stack: AsyncExitStack
) -> Proxy:
    """Start the plan's proxy in front of the servers and wait until it listens.

    Raises:
        TestbedError: when it is not installed or does not start.
    """
    listen = f"{INNER}:{port}"
    if plan.proxy == "haproxy":
        lines = "\n".join(f"    server s{n} {host}:{port}" for n, host in enumerate(servers, 1))
        # Two descriptors a connection; HAProxy refuses to start with more than the limit allows.
        text = _HAPROXY.format(most=most_connections() // 2 - 64, listen=listen, servers=lines)
    else:
        lines = "\n".join(f"   - {host}:{port}:1" for host in servers)
        text = _NUTCRACKER.format(
            listen=listen, servers=lines, redis=str(plan.server == "redis").lower()
        )
    configuration = os.memfd_create("proxy-configuration")
    output = os.memfd_create("proxy-output")
    try:
        os.write(configuration, text.encode())
        child = spawn(
            _command(plan.proxy, f"/proc/self/fd/{configuration}"),
            namespace=middle,
            output=output,
            inherit=(configuration,),
        )
    except BaseException:
        os.close(configuration)
        os.close(output)
        raise
    proxy = Proxy(child, plan.proxy, output, configuration)
    stack.callback(proxy.close)
    await proxy.ready(middle, port)
    return proxy


def _command(kind: ProxyKind, file: str) -> list[str]:
    if kind == "haproxy":
        return [tool("haproxy"), "-db", "-q", "-f", file]
    # Its statistics need an address of their own; 127.0.0.1 is up in the box.
    return [tool("nutcracker"), "-c", file, "-a", "127.0.0.1", "-s", "22222"]
