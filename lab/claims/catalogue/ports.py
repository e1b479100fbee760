"""The article on local ports."""

from __future__ import annotations

from lab.claims.claim import Claim
from lab.claims.expected import OWN_RANGE
from lab.claims.findings import PortDefaults, PortSearch, StolenPort, UsablePorts
from lab.claims.records import Verdict

SLOWER = 3.0
"""Times by which the last quarter's connects must be slower to call the search slow."""


def default_range(found: PortDefaults) -> Verdict:
    """Decide by both ends."""
    return "confirmed" if (found.low, found.high) == (32_768, 61_000) else "refuted"


def number_of_ports(found: UsablePorts) -> Verdict:
    """Decide by the article's formula, high - low, against what could be opened."""
    formula = found.high - found.low
    if found.opened == formula:
        return "confirmed"
    return "conditional" if found.opened == formula + 1 else "refuted"


def per_server(found: UsablePorts) -> Verdict:
    """Decide by what another port of the same server still took."""
    if not found.other_address:
        return "refuted"
    return "conditional" if found.other_port else "confirmed"


def more_ports_help(found: UsablePorts) -> Verdict:
    """Decide by twice the range."""
    wide = found.wide_high - found.wide_low + 1
    return "confirmed" if found.wide_opened == wide and wide > found.opened else "refuted"


def wide_range_is_safe(found: StolenPort) -> Verdict:
    """Decide by a daemon's bind() to a port that an outgoing connection has."""
    hazards = (found.while_open, found.while_open_shared, found.in_time_wait_shared)
    if all(result == "ok" for result in hazards):
        return "confirmed"
    avoided = found.reserved_bind == "ok" and not found.reserved_took
    return "conditional" if avoided else "refuted"


def whole_range_at_speed(found: PortSearch) -> Verdict:
    """Decide by connect()'s time in the last quarter of the range against the first."""
    slow = found.last_quarter >= SLOWER * found.first_quarter
    return "refuted" if slow else "confirmed"


_MOST = (
    "That means that one client will be able to open a maximum of (61000 - 32768) = 28232 "
    "connections to a server."
)
_WIDEN = "This limit can safely be increased in sysctl.conf to use the range 5000 to 65000."

ENTRIES = (
    Claim(
        name="default-port-range",
        says="the range is 32768 to 61000 by default",
        quote="By default, this range is limited to the ports between 32768 and 61000.",
        row=22,
        finding=PortDefaults,
        metric="ip_local_port_range in a fresh namespace",
        expected="32768 61000",
        figure=lambda found: f"{found.low} {found.high}",
        rule=default_range,
        readings={
            "confirmed": "as in the article",
            "refuted": "it ends at 60999 since 4.2, so that it has an even number of ports",
        },
        paper="refuted",
        sources=("commit 07f4c90062f8 (Linux 4.2)",),
    ),
    Claim(
        name="number-of-ports",
        says="a range has (last - first) usable ports",
        quote=_MOST,
        row=23,
        finding=UsablePorts,
        metric="connections until connect() fails",
        expected="last - first",
        figure=lambda found: f"{found.opened} over {found.low}-{found.high}, then {found.error}",
        rule=number_of_ports,
        readings={
            "confirmed": "last - first",
            "conditional": "last - first + 1: the formula is one short, and 28,232 is right all the "
            "same since the default range ends at 60999",
            "refuted": "another number of ports was usable",
        },
        condition="28,232 for the default range of 4.2 and later; the formula is one short",
        paper="conditional",
    ),
    Claim(
        name="whole-range-at-speed",
        says="connect() is as quick with the last free port as with the first",
        quote=_MOST,
        row=23,
        finding=PortSearch,
        metric="median time of connect(): first and last quarter of the range",
        expected="the same",
        figure=lambda found: (
            f"{found.first_quarter * 1e6:.0f} µs and {found.last_quarter * 1e6:.0f} µs of "
            f"{found.ports:,} ports"
        ),
        rule=whole_range_at_speed,
        readings={
            "confirmed": "no difference worth the name",
            "refuted": "connect() takes ports of one parity first; when half the range is used, "
            "each call walks that whole half before it finds a port. The rate collapses long "
            "before the first error, and no counter tells",
        },
        paper="refuted",
        changes=OWN_RANGE,
        instead="plan for half the range, or set IP_LOCAL_PORT_RANGE on the socket (6.8 and later "
        "then search without regard to parity)",
        sources=("commit 07f4c90062f8 (Linux 4.2)", "commit 207184853dbd (Linux 6.8)"),
    ),
    Claim(
        name="ports-per-server",
        says="the limit is for each server",
        quote="one client will be able to open a maximum of (61000 - 32768) = 28232 connections to "
        "a server.",
        row=24,
        finding=UsablePorts,
        metric="connections to another port of a server, and to another address, the range used up",
        expected="none to another port",
        figure=lambda found: (
            f"{found.other_port} to another port, {found.other_address} to another address"
        ),
        rule=per_server,
        readings={
            "confirmed": "one limit a server",
            "conditional": "each destination address and port has the whole range, and so has each "
            "source address",
            "refuted": "no other server could be reached either",
        },
        condition="for each source address, destination address and destination port",
        paper="conditional",
        instead="a second port on the server, or a second address on the client, doubles the limit "
        "without any sysctl",
    ),
    Claim(
        name="wide-range-is-safe",
        says="a range of 5000 to 65000 harms nobody",
        quote=_WIDEN,
        row=25,
        finding=StolenPort,
        metric="a daemon's bind() to a port that an outgoing connection has",
        expected="ok",
        figure=lambda found: (
            f"{found.while_open}, in TIME_WAIT with SO_REUSEADDR {found.in_time_wait_shared}; "
            f"reserved: {found.reserved_bind}"
        ),
        rule=wide_range_is_safe,
        readings={
            "confirmed": "the daemon got its port",
            "conditional": "an outgoing connection may take 11211, 6379 or 8080, and the daemon "
            "cannot start until a minute after it ended, SO_REUSEADDR or not",
            "refuted": "the daemon was kept from its port even though it was reserved",
        },
        condition="with the daemons' ports in ip_local_reserved_ports",
        paper="conditional",
        instead="begin above the daemons' ports, with an even number of ports, and reserve the rest "
        "in ip_local_reserved_ports (`lab tunings show recommended`)",
        sources=("Documentation/networking/ip-sysctl.rst, ip_local_reserved_ports",),
    ),
    Claim(
        name="more-ports-help",
        says="a wider range lets more connections be open or in TIME_WAIT",
        quote=_WIDEN,
        row=26,
        finding=UsablePorts,
        metric="connections until connect() fails, over a range and over twice as many ports",
        expected="twice as many",
        figure=lambda found: f"{found.opened} and {found.wide_opened}",
        rule=more_ports_help,
        readings={
            "confirmed": "in proportion: 60,001 ports instead of 28,232 move the wall to 2.1 times "
            "the rate, and do no more than that",
            "refuted": "more ports did not let more connections be opened",
        },
        paper="confirmed",
        instead="against thousands a second a range alone is too little: add tcp_tw_reuse = 1",
    ),
)
