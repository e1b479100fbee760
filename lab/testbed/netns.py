"""The netns testbed: two fresh network namespaces on this machine, joined by a veth pair.

Fresh namespaces start without TIME_WAIT sockets, conntrack entries or history, so a trial owes
nothing to the one before. They have no names: this process holds them by descriptor, the processes
in them die with it, and with the last reference the kernel removes namespace, addresses and veth.
There is nothing to restore after a `kill -9`, and nothing of another run to collide with.

    client namespace                              server namespace
    lan  198.18.0.1, 198.18.0.2, … ── veth ── lan  198.19.0.1:11211, 198.19.0.2:11211, …

The addresses are those of RFC 2544, set aside for measuring. Each side routes the other's half to
one next hop, so that each kernel resolves one neighbour however many addresses there are: the
neighbour table holds 1,024 entries (gc_thresh3) for all namespaces of the machine together.

iproute2 in batch mode does the set-up: two calls of 5 to 10 ms. pyroute2 needs about 5 ms, and
0.3 s once to be imported.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Final

import trio

from lab.sysctl.apply import Applied, apply, read_sysctls
from lab.testbed import middle
from lab.testbed.base import SitePlan, TestbedError, Tuned
from lab.testbed.faults import Fault
from lab.testbed.processes import enter, spawn, tool
from lab.testbed.servers import Running, kind_of, said_by, start
from loadgen.run.stored import read_about
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.sampling.namespace import NamespaceError, new_namespace

STOP_GRACE: Final = 15.0
"""Seconds an interrupted `loadgen run` has to save its results."""

Prepare = Callable[[int, int], None]
"""Called with the descriptors of the client's and the server's namespace, before a server starts."""

_CLIENT_NET, _SERVER_NET = IPv4Address("198.18.0.0"), IPv4Address("198.19.0.0")
_NETEM_LIMIT = 1_000_000  # packets; netem's default of 1,000 would drop some at high rates


def _ip(namespace: int, commands: Iterable[str], inherit: Sequence[int] = ()) -> None:
    done = subprocess.run(
        [*enter(namespace), tool("ip"), "-batch", "-"],
        input="\n".join(commands).encode() + b"\n",
        capture_output=True,
        pass_fds=(namespace, *inherit),
        check=False,
    )
    if done.returncode != 0:
        reason = said_by(done.stderr)
        remedy = "try: modprobe veth" if "nknown device type" in reason else ""
        raise TestbedError(f"cannot set up the network namespaces: ip: {reason}", remedy)


def _addressing(own: Sequence[str], other: Sequence[str], via: str | None = None) -> list[str]:
    """Return the commands that give one side its addresses and the way to the other's."""
    network = ip_network(f"{other[0]}/16", strict=False)
    gateway = other[0] if via is None else via
    return [
        *(f"addr add {address}/16 dev lan" for address in own),
        "link set lo up",
        "link set lan up",
        f"route add {network} via {gateway} dev lan src {own[0]} onlink",
    ]


def _connect(client: int, server: int, sources: Sequence[str], servers: Sequence[str]) -> None:
    """Join two fresh namespaces by a veth pair and give both sides their addresses."""
    link = f"link add lan type veth peer name lan netns /proc/self/fd/{server}"
    _ip(client, [link, *_addressing(sources, servers)], (server,))
    _ip(server, _addressing(servers, sources))


def _chain(
    client: int, box: int, server: int, sources: Sequence[str], servers: Sequence[str]
) -> None:
    """Join three fresh namespaces in a row by two veth pairs; see `lab.testbed.middle`."""
    link = "link add lan type veth peer name {name} netns /proc/self/fd/{box}"
    for end, own, other, name, gateway in (
        (client, sources, servers, "lan0", middle.INNER),
        (server, servers, sources, "lan1", middle.OUTER),
    ):
        _ip(end, [link.format(name=name, box=box), *_addressing(own, other, gateway)], (box,))
    _ip(box, middle.links(sources[0], servers[0]))


def addresses(role: str, count: int) -> tuple[str, ...]:
    """Return the first `count` addresses of a side, `client` or `server`."""
    network = _CLIENT_NET if role == ROLE_CLIENT else _SERVER_NET
    return tuple(str(network + number) for number in range(1, count + 1))


def _fresh(stack: ExitStack | AsyncExitStack, count: int) -> list[int]:
    """Return descriptors of new namespaces, which `stack` closes.

    Raises:
        TestbedError: when they cannot be made.
    """
    descriptors = []
    try:
        for _ in range(count):
            descriptors.append(new_namespace())
            stack.callback(os.close, descriptors[-1])
    except NamespaceError as error:
        raise TestbedError(str(error)) from error
    return descriptors


def pair(stack: ExitStack | AsyncExitStack, clients: int = 1, servers: int = 1) -> tuple[int, int]:
    """Make two fresh namespaces, the client's and the server's, joined by a veth pair.

    Args:
        stack: closes the descriptors, and with them goes everything that was made here.
        clients: how many addresses the client's side has, see `addresses`.
        servers: how many the server's side has.

    Returns:
        Descriptors of the client's and of the server's namespace.

    Raises:
        TestbedError: when they cannot be made.
    """
    client, server = _fresh(stack, 2)
    _connect(client, server, addresses(ROLE_CLIENT, clients), addresses(ROLE_SERVER, servers))
    return client, server


def delay(namespaces: Iterable[int], rtt: float) -> str | None:
    """Delay what leaves each namespace by half of `rtt` seconds; return why not, if it cannot."""
    for namespace in namespaces:
        netem = ["netem", "delay", f"{rtt / 2 * 1e6:.0f}us", "limit", str(_NETEM_LIMIT)]
        done = subprocess.run(
            [*enter(namespace), tool("tc"), "qdisc", "add", "dev", "lan", "root", *netem],
            capture_output=True,
            pass_fds=(namespace,),
            check=False,
        )
        if done.returncode != 0:
            return (
                f"no round-trip time of {rtt * 1e3:g} ms was emulated: the kernel refused netem "
                f"(tc: {said_by(done.stderr)}); a kernel with sch_netem can"
            )
    return None


@dataclass(frozen=True, slots=True)
class NetnsSite:
    """A `Site` in two namespaces of this machine."""

    plan: SitePlan
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    client: int
    """A descriptor of the client's network namespace, valid while the site is."""
    server: int
    """A descriptor of the servers' network namespace, valid while the site is."""
    notes: tuple[str, ...]
    command: tuple[str, ...]
    middle: tuple[str, int] | None
    """Role and namespace of the box in between; None where there is none."""
    running: list[Running]
    """In the order of `targets`."""
    applied: dict[str, Applied] = field(default_factory=dict)
    baseline: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def servers(self) -> tuple[int, ...]:
        """The process ids of the servers, in the order of `targets`."""
        return tuple(server.child.pid for server in self.running)

    async def loadgen(self, arguments: Sequence[str], log: Path) -> int:
        """See `Site.loadgen`.

        Raises:
            OSError: when `log` cannot be written.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            others = [(ROLE_SERVER, self.server), *([self.middle] if self.middle else [])]
            watched = [f"--netns={role}=/proc/self/fd/{place}" for role, place in others]
            child = spawn(
                [*self.command, *arguments, *watched],
                namespace=self.client,
                output=output,
                inherit=tuple(place for _, place in others),
            )
        finally:
            os.close(output)
        try:
            return await child.wait()
        except BaseException:
            await child.interrupt(STOP_GRACE)
            raise

    async def strike(self, fault: Fault, directory: Path) -> float:
        """See `Site.strike`."""
        origin = await _origin(directory)
        await trio.sleep(max(0.0, origin + fault.at - time.monotonic()))
        server = self.running[fault.server]
        match fault.action:
            case "pause":
                server.child.process.send_signal(signal.SIGSTOP)
            case "resume":
                server.child.process.send_signal(signal.SIGCONT)
            case "kill":
                server.expected_to_end = True
                server.child.kill()
            case "restart":
                server.restart(self.server, self.plan)
            case "disconnect" | "reconnect":
                # A rule that leaves the address without a way out: the server's kernel hears each
                # SYN and has no route for the answer, so the client waits as for a pulled cable.
                # The link itself is that of all servers, and its routes would go with it.
                verb = "add" if fault.action == "disconnect" else "del"
                rule = f"from {server.address} priority {1 + fault.server} blackhole"
                _ip(self.server, [f"rule {verb} {rule}"])
        return time.monotonic() - origin


async def _origin(directory: Path) -> float:
    """Return time 0 of the run that writes to `directory`, on CLOCK_MONOTONIC, once it is fixed."""
    while True:
        about = read_about(directory)
        if about is not None and about.origin is not None:
            return about.origin
        await trio.sleep(0.02)


def _namespaces(
    stack: AsyncExitStack, plan: SitePlan, sources: Sequence[str], servers: Sequence[str]
) -> tuple[int, int | None, int]:
    """Make and link the plan's namespaces: the client's, the box's if there is one, the servers'."""
    if plan.topology == "direct":
        client, server = pair(stack, plan.source_addresses, plan.servers)
        return client, None, server
    client, box, server = _fresh(stack, 3)
    _chain(client, box, server, sources, servers)
    return client, box, server


def _furnish(plan: SitePlan, box: int) -> list[str]:
    """Make a linked box the plan's router, NAT or proxy host, and return what is to be told of it."""
    if plan.topology in {"router", "nat"}:
        middle.forward(box)
    if plan.topology != "nat":
        return []
    middle.translate(box, plan.nat_ports)
    if plan.nat_room is None:
        return []
    middle.leave_room(box, plan.nat_room)
    return [
        f"the NAT's connection table was filled but for {plan.nat_room:,} entries before each trial, "
        "as the connections of other clients fill it (--nat-room)"
    ]


class NetnsTestbed:
    """Makes sites of network namespaces. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN (see `userns`)."""

    name = "netns"

    def __init__(
        self,
        command: Sequence[str] = (sys.executable, "-m", "loadgen", "run"),
        *,
        needs: Sequence[str] = ("memcached",),
    ) -> None:
        """Prepare to make sites.

        Args:
            command: runs the load generator.
            needs: programs of the servers that the sites will have.
        """
        self._command = tuple(command)
        self._needs = tuple(needs)

    def check(self) -> None:
        """See `Testbed.check`. Makes a pair of namespaces and lets it go again."""
        for name in (*self._needs, "ip", "nsenter", "setpriv"):
            tool(name)
        with ExitStack() as stack:
            pair(stack)

    def rehearse(self, tuned: Tuned) -> Applied:
        """See `Testbed.rehearse`."""
        namespace = new_namespace()
        try:
            found = apply(tuned.tuning, namespace, arm=tuned.arm, role=tuned.role, lenient=True)
            others = read_sysctls(namespace, tuned.baseline)
            return Applied({**others, **found.in_force}, found.skipped)
        finally:
            os.close(namespace)

    @asynccontextmanager
    async def site(
        self, plan: SitePlan, prepare: Prepare | None = None, *, tuned: Tuned | None = None
    ) -> AsyncIterator[NetnsSite]:
        """See `Testbed.site`.

        `prepare` is this testbed's own: it runs when both namespaces are linked and tuned, before a
        server starts.
        """
        kind = kind_of(plan)
        sources = addresses(ROLE_CLIENT, plan.source_addresses)
        servers = addresses(ROLE_SERVER, plan.servers)
        notes: list[str] = []
        applied: dict[str, Applied] = {}
        baseline: dict[str, dict[str, str]] = {}
        async with AsyncExitStack() as stack:
            client, box, server = _namespaces(stack, plan, sources, servers)
            if plan.rtt > 0 and (note := delay((client, server), plan.rtt)):
                notes.append(note)
            places = (client, server) if box is None else (client, box, server)
            if tuned is not None:
                for role, namespace in zip(plan.roles, places, strict=True):
                    baseline[role] = read_sysctls(namespace, tuned.baseline)
                    applied[role] = apply(
                        tuned.tuning.of(role), namespace, arm=tuned.arm, role=role, lenient=True
                    )
            if box is not None:
                notes += _furnish(plan, box)
            if prepare is not None:
                prepare(client, server)
            running: list[Running] = []
            for address in servers:
                running.append(start(server, address, plan))
                stack.callback(running[-1].close)
            for one in running:
                await one.ready(server)
            proxy = None
            if plan.topology == "proxy" and box is not None:
                proxy = await middle.start_proxy(box, plan, servers, kind.port, stack)
            fronts = servers if proxy is None else (middle.INNER,)
            yield NetnsSite(
                plan=plan,
                targets=tuple(kind.target(address) for address in fronts),
                middle=None if box is None else (plan.topology, box),
                sources=sources,
                client=client,
                server=server,
                notes=tuple(notes),
                command=self._command,
                running=running,
                applied=applied,
                baseline=baseline,
            )
            for one in running:
                code = one.child.returncode
                if code is not None and not one.expected_to_end:
                    raise TestbedError(
                        f"{one.place} ended during the trial with {code}: {one.said()}"
                    )
            if proxy is not None and (code := proxy.child.returncode) is not None:
                raise TestbedError(
                    f"{proxy.kind} ended during the trial with {code}: {proxy.said()}"
                )
