"""What is asked of the verbs that measure or plan: each one's options as a record.

click has parsed each option by itself; what only several together can say is checked here, once. The
fields are called as click calls the options.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.testbed.base import ProxyKind, SitePlan, Topology
from lab.testbed.servers import STATUS_PATH
from loadgen.config import CloseMode, LoadOptions

Rate = float | Literal["auto", "max"]
Room = int | Literal["auto", "all"]
"""Entries of a table."""

MAX_LATENESS = 0.25
"""Seconds after which the lab drops an arrival: shared machines pause for tenths of a second."""


def _number(rate: Rate) -> float | None:
    """Return a rate; None for the one that is to be found.

    Raises:
        ValueError: for the closed loop.
    """
    if rate == "max":
        raise ValueError("--rate max has no arrivals to drop, so nothing to compare; give a number")
    return None if rate == "auto" else rate


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Of `lab run`.

    Raises:
        ValueError: for options that do not go together.
    """

    before: str
    after: str
    rate: Rate
    duration: float | None
    """Seconds; None for what suits the rate."""
    trials: int
    testbed: Literal["netns", "docker", "swarm"]
    image: str
    topology: Topology
    nat_ports: tuple[int, int] | None
    nat_room: Room | None
    proxy: ProxyKind | None
    server: str
    server_url: str
    tls: bool
    servers: int
    clients: int
    memcached_threads: int
    rtt: float
    """Seconds."""
    close: CloseMode
    op: str | None
    timeout: float
    """Seconds."""
    max_lateness: float
    """Seconds."""
    workers: int | None
    local_port_range: tuple[int, int] | None
    faults: tuple[str, ...]
    allow_host_sysctls: bool
    thresholds: tuple[str, ...]
    out: Path | None
    quiet: bool

    def __post_init__(self) -> None:
        _number(self.rate)
        for flag, value, only in (
            ("--nat-ports", self.nat_ports, "nat"),
            ("--nat-room", self.nat_room, "nat"),
            ("--proxy", self.proxy, "proxy"),
        ):
            if value is not None and self.topology != only:
                raise ValueError(f"{flag} belongs to --topology {only}, not to {self.topology}")
        if self.topology != "direct" and self.testbed != "netns":
            raise ValueError(
                f"--topology {self.topology} needs --testbed netns: a Docker network has a bridge and "
                "a firewall of the engine's own, and containers on it see no other host in between"
            )
        if self.testbed == "swarm" and (self.faults or self.allow_host_sysctls):
            flag = "--fault" if self.faults else "--allow-host-sysctls"
            raise ValueError(
                f"{flag} is for one machine: the nodes of a swarm have clocks and settings of their "
                "own; use --testbed docker"
            )
        if self.topology == "nat" and self.nat_room in {None, "auto"} and self.number is None:
            raise ValueError("--topology nat: give --rate as a number, or --nat-room")

    @property
    def number(self) -> float | None:
        """The rate; None where it is to be found."""
        return _number(self.rate)

    def load(self, thresholds: tuple[str, ...]) -> LoadOptions:
        """Return what is asked of the load generator, with what each run is held to."""
        return LoadOptions(
            rate=self.number,
            op=self.op,
            close=self.close,
            timeout=self.timeout,
            max_lateness=self.max_lateness,
            workers=self.workers,
            local_port_range=self.local_port_range,
            status_path=STATUS_PATH.get(self.server, ""),
            tls=self.tls,
            tls_insecure=self.tls,
            thresholds=thresholds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AblateOptions:
    """Of `lab ablate`.

    Raises:
        ValueError: for the closed loop.
    """

    after: str
    only: tuple[str, ...]
    """Keys."""
    rate: Rate
    duration: float
    """Seconds."""
    trials: int | None
    servers: int
    clients: int
    close: CloseMode
    timeout: float
    """Seconds."""
    workers: int | None
    local_port_range: tuple[int, int] | None
    conntrack: Literal["auto", "on", "off"]
    out: Path | None
    json_file: str | None
    quiet: bool

    def __post_init__(self) -> None:
        _number(self.rate)

    @property
    def number(self) -> float | None:
        """The rate; None where it is to be found."""
        return _number(self.rate)

    def load(self) -> LoadOptions:
        """Return what is asked of the load generator."""
        return LoadOptions(
            rate=self.number,
            close=self.close,
            timeout=self.timeout,
            max_lateness=MAX_LATENESS,
            workers=self.workers,
            local_port_range=self.local_port_range,
        )

    def site(self) -> SitePlan:
        """Return what a trial's site consists of."""
        return SitePlan(servers=self.servers, source_addresses=self.clients)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """Of `lab sweep`.

    Raises:
        ValueError: for tunings to validate the model with.
    """

    tunings: tuple[str, ...]
    validate: bool
    only: tuple[str, ...]
    only_list: bool
    duration: float
    """Seconds."""
    precision: float
    """A share."""
    confirm: int
    servers: int
    clients: int
    close: CloseMode
    local_port_range: tuple[int, int] | None
    workers: int | None
    out: Path | None
    json_file: str | None
    quiet: bool

    def __post_init__(self) -> None:
        if self.validates and self.tunings:
            raise ValueError("--validate has situations of its own: omit --tuning")

    @property
    def validates(self) -> bool:
        """Whether it is the model that is measured, not tunings."""
        return bool(self.validate or self.only or self.only_list)

    def load(self) -> LoadOptions:
        """Return what is asked of the load generator."""
        return LoadOptions(
            close=self.close, workers=self.workers, local_port_range=self.local_port_range
        )

    def site(self) -> SitePlan:
        """Return what a trial's site consists of."""
        return SitePlan(servers=self.servers, source_addresses=self.clients)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Of `lab plan`.

    Raises:
        ValueError: for options that do not go together.
    """

    rate: float | None
    recording: Path | None
    clients: int
    servers: int
    tuning: str
    close: CloseMode
    duration: float | None
    """Seconds; None for ever."""
    rtt: float
    """Seconds."""
    local_port_range: tuple[int, int] | None
    bind_early: bool
    conntrack: bool
    kernel: str | None
    memory: float | None
    """GiB."""
    topology: Literal["direct", "nat", "proxy"]
    nat_addresses: int
    nat_ports: tuple[int, int] | None
    output: str | None
    proof: Path | None
    json_file: str | None

    def __post_init__(self) -> None:
        if self.rate is None and self.recording is None:
            raise ValueError("how many connections a second? give --rate, or --from a recording")
        if self.proof is not None and self.recording is None:
            raise ValueError("--proof is for a recording; give --from DIR")
        if "-" == self.output == self.json_file:
            raise ValueError("--output and --json cannot both be standard output")
        if self.memory is not None and self.kernel is None:
            raise ValueError(
                "--memory is of the host that --kernel is planned for; give --kernel too"
            )

    @property
    def prints(self) -> bool:
        """Whether standard output is for a file's content alone."""
        return "-" in {self.output, self.json_file}
