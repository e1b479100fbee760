"""Situations small enough to be measured in seconds, one for each part of the model. Pure.

Every wall scales with the number of ports, so 1,000 ports show in half a second what 28,232 show in
minutes. The conntrack table's size is the host's and is left alone; a namespace's own table is
brought to its brink with made-up entries instead, and the time to overflow is that of the margin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from lab.capacity import Forecast
from lab.testbed.base import Topology
from loadgen.config import LoadOptions
from loadgen.sample import ROLE_NAT, ROLE_SERVER
from loadgen.summary import Summary

Quantity = Literal["connections", "rate", "time", "sockets"]

TOLERANCES: Final[dict[Quantity, float]] = {
    "connections": 0.005,
    "rate": 0.05,
    "time": 0.05,
    "sockets": 0.005,
}


_PLAIN: Final = LoadOptions()
FIRST: Final = 40_000
"""The first port of a case's range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One situation, and the figure that is compared in it."""

    name: str
    situation: str
    text: str
    """The sysctl.d lines of both sides, but for `ports`."""
    rate: float
    duration: float
    quantity: Quantity
    what: str
    predict: Callable[[Forecast], float | None]
    measure: Callable[[Summary], float | None]
    load: LoadOptions = _PLAIN
    """Rate and duration are the case's own."""
    sources: int = 1
    servers: int = 1
    topology: Topology = "direct"
    """This and the next two are as `lab.testbed.base.SitePlan` has them."""
    nat_ports: tuple[int, int] | None = None
    nat_room: int | None = None
    box: str = ""
    """The sysctl.d lines of the box in between."""
    faults: tuple[str, ...] = ()
    """As `lab run --fault` has them."""
    service: float = 0.0
    """Seconds that the servers take for a connection, as the model is to know it."""
    margin: int | None = None
    """Entries that the server's conntrack table has left; None for no tracking."""
    ports: int | None = None
    """Of the client's range, where it may be made smaller for a slow machine; None: as in `text`."""

    @property
    def settings(self) -> str:
        """All sysctl.d lines."""
        if self.ports is None:
            return self.text
        return f"net.ipv4.ip_local_port_range = {FIRST} {FIRST + self.ports - 1}\n{self.text}"


def _until(name: str) -> Callable[[Forecast], float | None]:
    def predicted(found: Forecast) -> float | None:
        return next((limit.connections for limit in found.limits if limit.name == name), None)

    return predicted


def _served(summary: Summary) -> float:
    return summary.ok


def _before_loss(summary: Summary) -> float | None:
    return summary.started_before_first_failure


def _overflow(summary: Summary) -> float | None:
    """When the first SYN was dropped: its attempt failed one timeout later."""
    if summary.first_failure_at is None:
        return None
    return summary.first_failure_at - summary.config.timeout


def _settled(summary: Summary) -> float:
    return summary.rate.achieved


def _held_by_the_nat(summary: Summary) -> float | None:
    """The most connections that it translated at once."""
    found = summary.kernel.get(ROLE_NAT, {}).get("nf_conntrack_entries")
    return None if found is None else float(found.max)


def _server_time_wait(summary: Summary) -> float | None:
    found = summary.kernel.get(ROLE_SERVER, {}).get("sockstat_TCP_tw")
    return None if found is None else float(found.max)


_PORTS: Final = "net.ipv4.ip_local_port_range = 40000 40999\n"
_NO_REUSE: Final = "net.ipv4.tcp_tw_reuse = 0\n"
_REUSE: Final = "net.ipv4.tcp_tw_reuse = 1\n"
_RUN_OUT: Final = "connections until no port is free"


def _exhaustion(
    name: str,
    situation: str,
    *,
    text: str = _PORTS + _NO_REUSE,
    rate: float = 2_000,
    duration: float = 2.0,
    load: LoadOptions = _PLAIN,
    sources: int = 1,
    servers: int = 1,
) -> Case:
    return Case(
        name=name,
        situation=situation,
        text=text,
        rate=rate,
        duration=duration,
        quantity="connections",
        what=_RUN_OUT,
        predict=_until("ports_exhausted"),
        measure=_served,
        load=load,
        sources=sources,
        servers=servers,
    )


def _reuse(
    name: str,
    situation: str,
    *,
    ports: int,
    text: str = _REUSE,
    rate: float,
    sources: int = 1,
    servers: int = 1,
) -> Case:
    return Case(
        name=name,
        situation=situation,
        text=text,
        rate=rate,
        # A whole number of delays: each brings the ports back once.
        duration=6.0,
        quantity="rate",
        what="sustained rate",
        predict=lambda found: found.sustainable_rate,
        measure=_settled,
        ports=ports,
        sources=sources,
        servers=servers,
    )


def _brink(name: str, situation: str, *, text: str = "", load: LoadOptions = _PLAIN) -> Case:
    return Case(
        name=name,
        situation=situation,
        text=text,
        rate=1_000,
        duration=3.0,
        quantity="time",
        what="time until the conntrack table is full",
        predict=lambda found: next(
            (limit.at for limit in found.limits if limit.name == "conntrack_full"), None
        ),
        measure=_overflow,
        load=replace(load, timeout=1.0),
        margin=2_000,
    )


CASES: Final = (
    _exhaustion("ports", "1,000 ports, no reuse, client closes"),
    _exhaustion("loopback-only reuse", "1,000 ports, tcp_tw_reuse = 2 between two hosts",
                text=_PORTS + "net.ipv4.tcp_tw_reuse = 2\n"),
    _exhaustion("destinations", "1,000 ports, no reuse, 3 servers", rate=3_000, servers=3),
    _exhaustion("sources", "1,000 ports, no reuse, 2 client addresses", sources=2),
    _exhaustion("bind early", "1,000 ports, bind() first, 2 client addresses, 3 servers",
                sources=2, servers=3, load=LoadOptions(bind_early=True)),
    _exhaustion("reserved ports", "1,000 ports of which 250 are reserved",
                text=_PORTS + _NO_REUSE + "net.ipv4.ip_local_reserved_ports = 40100-40349\n"),
    _exhaustion("odd range", "1,001 ports, no reuse",
                text="net.ipv4.ip_local_port_range = 40000 41000\n" + _NO_REUSE),
    _exhaustion("socket option", "IP_LOCAL_PORT_RANGE of 600 ports within the default range",
                text=_NO_REUSE, load=LoadOptions(local_port_range=(40_000, 40_599))),
    _exhaustion("default range", "IP_LOCAL_PORT_RANGE of the whole default range",
                text=_NO_REUSE, rate=6_000, duration=5.0,
                load=LoadOptions(local_port_range=(32_768, 60_999))),
    _exhaustion("no timestamps", "1,000 ports, reuse without timestamps",
                text=_PORTS + _REUSE + "net.ipv4.tcp_timestamps = 0\n"),
    Case(
        name="slow search",
        situation="default range, no reuse: the collapse",
        text=_NO_REUSE,
        rate=7_000,
        duration=3.0,
        quantity="connections",
        what="connections until the slow search loses the first",
        predict=lambda found: found.first_loss.lost_after if found.first_loss else None,
        measure=_before_loss,
    ),
    _reuse("reuse", "1,000 ports, reuse after 1 s", ports=1_000, rate=1_500),
    _reuse("short delay", "500 ports, reuse after 0.5 s", ports=500, rate=1_500,
           text=_REUSE + "net.ipv4.tcp_tw_reuse_delay = 500\n"),
    _reuse("reuse, destinations", "400 ports, reuse after 1 s, 3 servers", ports=400, rate=1_800,
           servers=3),
    _reuse("reuse, sources", "500 ports, reuse after 1 s, 2 client addresses", ports=500,
           rate=1_500, sources=2),
    Case(
        name="reuse, buckets",
        situation="1,000 ports, reuse after 1 s, tcp_max_tw_buckets = 100: no port is ever missing",
        text=_PORTS + _REUSE + "net.ipv4.tcp_max_tw_buckets = 100\n",
        rate=2_000,
        duration=2.0,
        quantity="connections",
        what="connections served",
        predict=lambda found: found.rate * (found.duration or 0) if found.holds else 0.0,
        measure=_served,
    ),
    _brink("conntrack", "2,000 entries left, client closes"),
    _brink("conntrack, reset", "2,000 entries left, connections end by RST",
           load=LoadOptions(close="rst")),
    Case(
        name="nat, table",
        situation="behind a NAT whose table has 2,000 entries left, client closes",
        text="",
        rate=1_000,
        duration=3.0,
        quantity="time",
        what="time until the NAT's table is full",
        predict=lambda found: next(
            (limit.at for limit in found.limits if limit.name == "conntrack_full"), None
        ),
        measure=_overflow,
        load=LoadOptions(timeout=1.0),
        topology="nat",
        nat_room=2_000,
    ),
    Case(
        name="nat, ports",
        situation="behind a NAT with 128 ports, connections held open by a server that stands still",
        text="",
        rate=200,
        duration=2.0,
        quantity="connections",
        what="connections that the NAT holds when it has no port left",
        predict=_until("nat_ports_exhausted"),
        measure=_held_by_the_nat,
        load=LoadOptions(timeout=2.0),
        topology="nat",
        nat_ports=(20_000, 20_127),
        faults=("pause server-1 at 0s",),
        service=2.0,
    ),
    Case(
        name="proxy, ports",
        situation="a proxy with 1,000 ports, no reuse, client closes",
        text="",
        box=_PORTS + _NO_REUSE,
        rate=1_000,
        duration=2.0,
        quantity="connections",
        what="connections until the proxy has no port left",
        predict=_until("ports_exhausted"),
        measure=_served,
        topology="proxy",
    ),
    Case(
        name="server closes",
        situation="1,000 ports, server closes: no wall, half of the ports used",
        text=_PORTS,
        rate=2_500,
        duration=2.0,
        quantity="sockets",
        what="TIME_WAIT sockets on the server",
        predict=lambda found: found.time_wait.sockets,
        measure=_server_time_wait,
        load=LoadOptions(close="server"),
    ),
)  # fmt: skip
"""In the order in which `lab sweep --validate` runs them; about 80 s together."""
