"""Local ports: how many there are, what finding one costs, and whose they were.

connect() hashes its way to a starting point in ip_local_port_range and tries ports of one parity
first, the range's lowest port's, since commit 07f4c90062f8 (Linux 4.2) leaves the others to bind(). Only when all of
those are taken, by an open connection or one in TIME_WAIT, toward the same destination, does it
look at the other half, and then each connect() walks the whole first half before it finds a port.
"""

from __future__ import annotations

import errno
import socket
from statistics import median

from lab.claims.connections import PORT, Prepare, Service, burst, local_port_range, serve
from lab.claims.experiments.base import ClaimExperiment
from lab.claims.findings import PortDefaults, PortSearch, StolenPort, UsablePorts
from lab.testbed.ground import Ground
from loadgen.outcome import errno_name
from loadgen.sample import ROLE_CLIENT
from loadgen.sampling import parse

RANGE = "net.ipv4.ip_local_port_range"
RESERVED = "net.ipv4.ip_local_reserved_ports"
REUSE = "net.ipv4.tcp_tw_reuse"
LOW = 40_000
_FEW, _SEARCHED = 100, 4_000


def defaults(ground: Ground) -> PortDefaults:
    """Read the range."""
    text = ground.get(ROLE_CLIENT, RANGE) or ""
    low, high = parse.port_range(text.encode())
    return PortDefaults(
        low=low,
        high=high,
        count=high - low + 1,
        evidence=[f"a fresh namespace has {RANGE} = {text}, which is {high - low + 1:,} ports"],
    )


def usable(ground: Ground) -> UsablePorts:
    """Open connections until there is no port left; then to another port, and another address."""
    services = [serve(ground), serve(ground, PORT + 1), serve(ground, address=ground.servers[1])]
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + _FEW - 1}", REUSE: 0})
    first = burst(ground, services[0], _FEW + 50)
    watch = ground.watch(ROLE_CLIENT)
    failing = burst(ground, services[0], 50)
    moved = watch.counters_moved()
    other_port, other_address = (burst(ground, one, _FEW + 50).opened for one in services[1:])
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + 2 * _FEW - 1}"})
    more = burst(ground, services[0], 2 * _FEW).opened
    error = ", ".join(failing.errors) or "none"
    return UsablePorts(
        low=LOW,
        high=LOW + _FEW - 1,
        opened=first.opened,
        wide_low=LOW,
        wide_high=LOW + 2 * _FEW - 1,
        wide_opened=first.opened + more,
        error=error,
        counters=moved,
        other_port=other_port,
        other_address=other_address,
        evidence=[
            f"range {LOW}-{LOW + _FEW - 1}: {first.opened} connections to one address and port, "
            f"then {error}",
            f"the same range to port {PORT + 1}: {other_port}; to another address: {other_address}",
            f"range {LOW}-{LOW + 2 * _FEW - 1}: {first.opened + more} connections",
            f"50 connects that failed moved {_told(moved)} in /proc/net/snmp and netstat",
        ],
    )


def _told(moved: dict[str, int]) -> str:
    return ", ".join(f"{name} by {change}" for name, change in moved.items()) or "no counter"


def _quarters(
    ground: Ground, service: Service, prepare: Prepare | None
) -> tuple[float, float, list[int], float]:
    """Use a range up; return medians of its first and last quarter, the ports, and of failures."""
    done = burst(ground, service, _SEARCHED, prepare=prepare)
    failed = burst(ground, service, 20, prepare=prepare)
    quarter = _SEARCHED // 4
    return (
        median(done.connects[:quarter]),
        median(done.connects[-quarter:]),
        done.ports,
        median(failed.failures) if failed.failures else 0.0,
    )


def search(ground: Ground) -> PortSearch:
    """Time each connect() while a range fills up, then the same for sockets with their own range."""
    high = LOW + _SEARCHED - 1
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {high}", REUSE: 0})
    first, last, ports, failing = _quarters(ground, serve(ground), None)
    half = ports[: _SEARCHED // 2]
    same = sum(port % 2 == LOW % 2 for port in half) / len(half)
    own: tuple[float, float] | None = None
    evidence = [
        f"{len(ports):,} connections over {_SEARCHED:,} ports: connect() took {first * 1e6:.1f} µs "
        f"in the first quarter, {last * 1e6:.0f} µs in the last, and {failing * 1e6:.0f} µs to "
        "find that there is no port",
        f"of the first {len(half):,} connections {same:.1%} had a port of the range's own parity",
    ]
    with socket.socket() as probe:
        try:
            local_port_range(LOW, high)(probe)
        except OSError:
            evidence.append("this kernel has no IP_LOCAL_PORT_RANGE (it came with 6.3)")
        else:
            slow = _quarters(ground, serve(ground, PORT + 1), local_port_range(LOW, high))
            own = slow[0], slow[1]
            evidence.append(
                f"sockets with IP_LOCAL_PORT_RANGE: {own[0] * 1e6:.1f} µs and {own[1] * 1e6:.1f} µs"
            )
    return PortSearch(
        ports=_SEARCHED,
        first_quarter=first,
        last_quarter=last,
        same_parity=same,
        failing=failing,
        own_range_first=own[0] if own else None,
        own_range_last=own[1] if own else None,
        evidence=evidence,
    )


def _daemon(ground: Ground, port: int, *, shared: bool = False) -> str:
    """Bind as a daemon on the client's host would; return `ok` or the errno's name."""

    def bind() -> str:
        with socket.socket() as daemon:
            if shared:
                daemon.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                daemon.bind(("0.0.0.0", port))  # noqa: S104 - of a namespace that ends with this
            except OSError as error:
                return errno_name(error.errno or errno.EIO)
        return "ok"

    return ground.inside(ROLE_CLIENT, bind)


def stolen(ground: Ground) -> StolenPort:
    """Let outgoing connections take a daemon's port, then start the daemon."""
    service = serve(ground)
    ground.set(ROLE_CLIENT, {RANGE: f"{PORT} {PORT + 1}", REUSE: 0})
    taken = burst(ground, service, 2, hold=True)
    while_open, shared = _daemon(ground, PORT), _daemon(ground, PORT, shared=True)
    taken.release()
    burst(ground, service, 2)
    after = _daemon(ground, PORT, shared=True)
    ground.set(ROLE_CLIENT, {RANGE: f"{LOW} {LOW + 3}", RESERVED: f"{LOW}-{LOW + 1}"})
    reserved = burst(ground, service, 4, hold=True)
    took, bound = LOW in reserved.ports, _daemon(ground, LOW)
    return StolenPort(
        port=PORT,
        while_open=while_open,
        while_open_shared=shared,
        in_time_wait_shared=after,
        reserved_took=took,
        reserved_bind=bound,
        evidence=[
            f"range {PORT}-{PORT + 1}, one connection on each: bind() to port {PORT} gives "
            f"{while_open}, with SO_REUSEADDR {shared}",
            f"the same with both connections in TIME_WAIT, with SO_REUSEADDR: {after}",
            f"a port of the range in {RESERVED}: {reserved.opened} outgoing connections "
            f"{'took it too' if took else 'left it alone'}, and bind() to it gives {bound}",
        ],
    )


EXPERIMENTS = (
    ClaimExperiment(name="port-defaults", finding=PortDefaults, run=defaults),
    ClaimExperiment(name="usable-ports", finding=UsablePorts, run=usable, servers=2),
    ClaimExperiment(name="port-search", finding=PortSearch, run=search),
    ClaimExperiment(name="stolen-port", finding=StolenPort, run=stolen),
)
