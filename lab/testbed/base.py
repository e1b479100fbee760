"""What an experiment asks of a testbed, whichever kind it is."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from lab.sysctl.apply import Applied
from lab.sysctl.tuning import Tuning
from lab.testbed.faults import Fault
from loadgen.errors import ChurnlabError
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER

MAX_ADDRESSES: Final = 4096
"""The most servers, and the most client addresses, that one site takes."""

ROLES: Final = (ROLE_CLIENT, ROLE_SERVER)
"""The two sides of a site; a tuning goes to both."""

Topology = Literal["direct", "router", "nat", "proxy"]
"""What stands between client and servers; all but `direct` are also the role of that box."""
ProxyKind = Literal["haproxy", "nutcracker"]
"""Roles of a box between client and servers."""


class TestbedError(ChurnlabError):
    """A testbed that cannot be used here. One line, with the remedy."""

    __test__ = False  # pytest takes any class named Test* for tests


class UntestableError(TestbedError):
    """What one experiment needs and this machine does not have; others may work here."""


def most_connections() -> int:
    """Return how many connections one memcached may hold open at once here.

    memcached counts every descriptor against `-c`, sets its open-files limit to that number and
    refuses to start when it may not; only root in the host's user namespace may raise the hard
    limit. So the number stays below the hard limit, with some room for the descriptors that are
    no connections. 65,536 is more than one client address can have open to one server.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        return 65_536
    return max(64, min(65_536, hard - 64))


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """What a trial's site consists of.

    Raises:
        TestbedError: for a number out of range.
    """

    server: str = "memcached"
    """What they are: a name of `lab.testbed.servers.KINDS`, or a command with {address} and {port}."""
    server_url: str = ""
    """How loadgen calls a command's server, with {address} and {port}; tcp:// if empty."""
    certificate: str = ""
    """With which they speak TLS, key and certificate in PEM (`lab.testbed.servers.self_signed`); without
    TLS if empty."""
    servers: int = 1
    """Server processes, each with an address of its own: 1 to `MAX_ADDRESSES`."""
    memcached_threads: int = 4
    memcached_connections: int = field(default_factory=most_connections)
    """memcached's `-c`, Redis' maxclients or nginx' worker_connections, for each server."""
    memcached_options: tuple[str, ...] = ()
    """Further options, as memcached's command line has them; they override the testbed's own."""
    source_addresses: int = 1
    """Addresses the client may connect from, each a pool of ports: 1 to `MAX_ADDRESSES`."""
    rtt: float = 0.0
    """Emulated round-trip time in seconds; 0 emulates none."""

    topology: Topology = "direct"
    nat_ports: tuple[int, int] | None = None
    """First and last port that a NAT uses toward a destination; None for the kernel's choice."""
    nat_room: int | None = None
    """Entries that a NAT's connection table has left when a trial begins; None leaves it as it is."""
    proxy: ProxyKind = "haproxy"

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of the site's namespaces, in the order in which packets pass them."""
        middle = () if self.topology == "direct" else (self.topology,)
        return (ROLE_CLIENT, *middle, ROLE_SERVER)

    def __post_init__(self) -> None:
        if self.nat_ports is not None and not 0 < self.nat_ports[0] <= self.nat_ports[1] <= 65_535:
            low, high = self.nat_ports
            raise TestbedError(f"nat ports: {low}-{high} is no range of ports, 1 to 65535")
        if self.nat_room is not None and self.nat_room < 0:
            raise TestbedError(f"nat room: {self.nat_room} is less than 0")
        for name, most in (
            ("servers", MAX_ADDRESSES),
            ("source_addresses", MAX_ADDRESSES),
            ("memcached_threads", 1024),
            ("memcached_connections", 2**31 - 1),
        ):
            value = getattr(self, name)
            if not 1 <= value <= most:
                label = name.replace("_", " ")
                raise TestbedError(f"{label}: {value} is not between 1 and {most}")
        if not 0 <= self.rtt <= 10:
            raise TestbedError(f"rtt: {self.rtt} is not between 0 and 10 seconds")


@dataclass(frozen=True, slots=True)
class Tuned:
    """The tuning that a site is to be under."""

    tuning: Tuning
    arm: str
    """`before` or `after`, for messages."""
    baseline: tuple[str, ...] = ()
    """Dotted keys whose values in the fresh namespaces are wanted, as they were before; in a
    rehearsal, further keys whose values are wanted."""
    role: str = ROLE_CLIENT
    """In a rehearsal, whose namespace it is for, for messages."""


class Site(Protocol):
    """One trial's fresh client and servers, linked, with the servers answering."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The servers, as loadgen calls them."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The client's addresses; a connection that names none starts from the first."""

    @property
    def applied(self) -> Mapping[str, Applied]:
        """By role, what holds after the tuning was applied, read back inside; empty without one."""

    @property
    def baseline(self) -> Mapping[str, Mapping[str, str]]:
        """By role, the values that `Tuned.baseline` asked for, from before the tuning."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the plan asked for and this kernel could not give: one line each, for the report."""

    async def loadgen(self, arguments: Sequence[str], log: Path) -> int:
        """Run `loadgen run` on the client and return its exit code.

        Its output is appended to `log`, and the run directory that `--out` names is on this machine
        when it returns. Where the servers' kernel counters are read is added to `arguments` here.
        When cancelled, the run is interrupted, given time to save what it measured, and killed if
        it takes longer.
        """

    async def strike(self, fault: Fault, directory: Path) -> float:
        """Wait for a fault's moment in the run that writes to `directory`, and carry it out.

        Returns:
            The moment it was done, in seconds of the run's clock.

        Raises:
            TestbedError: when it cannot be carried out here.
        """


class Testbed(Protocol):
    """A kind of place where arms run."""

    @property
    def name(self) -> str:
        """As `--testbed` has it."""

    def check(self) -> None:
        """Find out whether sites can be made here.

        Raises:
            TestbedError: when they cannot; the message says what is missing and how to get it.
        """

    def rehearse(self, tuned: Tuned) -> Applied:
        """Apply a tuning where nothing runs, to find its errors before any load.

        Returns:
            What holds then; `in_force` has the keys of `Tuned.baseline` too.

        Raises:
            TuningError: when it cannot be applied; names the arm and the line.
        """

    def site(
        self, plan: SitePlan, *, tuned: Tuned | None = None
    ) -> AbstractAsyncContextManager[Site]:
        """Make a fresh site for the length of one `async with`, and remove it afterwards.

        The tuning is in force before a server starts: a listening socket takes its share of
        net.core.somaxconn when listen() is called, so a value written later would be read back
        and have no effect.

        Raises:
            TestbedError: when the site cannot be made, or a server died of itself during the trial.
            TuningError: when the tuning cannot be applied; names the arm and the line.
        """
