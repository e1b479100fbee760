"""Local ports and TIME_WAIT: what decides on the client's side."""

from __future__ import annotations

from typing import Final

from lab.sysctl.catalogue.entry import Sysctl

ENTRIES: Final = (
    Sysctl(
        "net.ipv4.tcp_tw_reuse",
        does="lets connect() take a port whose last connection to the same destination is in "
        "TIME_WAIT: 0 never, 1 always, 2 on loopback only",
        price="needs TCP timestamps on both ends; does nothing for servers, nor after bind() to "
        "an address without IP_BIND_ADDRESS_NO_PORT",
        low=0,
        high=2,
        per_namespace="~4.11",
        default="2",
        default_note="0 before ~4.19",
    ),
    Sysctl(
        "net.ipv4.tcp_tw_reuse_delay",
        does="how long a connection must have been in TIME_WAIT before tcp_tw_reuse takes its port",
        price="a shorter delay leaves less time for stray segments of the old connection",
        unit="ms",
        low=1,
        high=60_000,
        since="6.14",
        default="1000",
        default_note="before 6.14 fixed, at most 1 s",
        better="lower",
    ),
    Sysctl(
        "net.ipv4.tcp_timestamps",
        does="TCP timestamps (RFC 7323): 1 with a random offset for each connection, 2 without, 0 off",
        price="off, tcp_tw_reuse never reuses anything and PAWS is lost; 12 bytes a segment when on",
        low=0,
        high=255,
        per_namespace="~4.14",
        default="1",
    ),
    Sysctl(
        "net.ipv4.ip_local_port_range",
        does="the local ports that connect() chooses from, first and last",
        price="a wider range can take the port of a daemon that is not running at the moment; an "
        "odd number of ports makes the kernel log 'prefer different parity'",
        unit="port",
        low=1,
        high=65_535,
        kind="integers",
        per_namespace="3.13",
        default="32768 60999",
        default_note="32768 61000 before 4.2",
    ),
    Sysctl(
        "net.ipv4.ip_local_reserved_ports",
        does="ports that connect() never chooses, although they lie in the range",
        price="the file holds the whole list: setting it drops what was there",
        unit="port",
        low=0,
        high=65_535,
        kind="ports",
        since="~2.6.35",
        per_namespace="~3.16",
        default="",
    ),
    Sysctl(
        # 7da62262ec96; Documentation/networking/ip-sysctl.rst. A variant of RFC 6056's algorithm 5.
        "net.ipv4.ip_local_port_step_width",
        does="makes connect() go on from a port that is taken in steps of a random length up to this, "
        "not to the next one, so that ports behind a reserved block are not used more than others; "
        "0 is off",
        price="no more ports and no quicker search: half of the range is still tried first; the "
        "kernel's documentation warns of more collisions under high load",
        unit="ports",
        low=0,
        high=4_294_967_295,
        since="7.1",
        default="0",
    ),
    Sysctl(
        "net.ipv4.ip_unprivileged_port_start",
        does="first port that needs no privilege; the local range must not begin below it",
        price="",
        unit="port",
        low=0,
        high=65_535,
        since="~4.11",
        default="1024",
    ),
    Sysctl(
        "net.ipv4.tcp_max_tw_buckets",
        does="most TIME_WAIT sockets; above it the kernel closes without TIME_WAIT",
        price="lowered, it hides port exhaustion by dropping the protection against old segments "
        "(counter TCPTimeWaitOverflow)",
        unit="sockets",
        per_namespace="~4.11",
        default_note="half the size of the established hash",
        better="higher",
    ),
    Sysctl(
        "net.ipv4.tcp_fin_timeout",
        does="how long an orphaned socket waits in FIN-WAIT-2 for the peer's FIN",
        price="does not shorten TIME_WAIT, which is 60 s by constant",
        unit="s",
        per_namespace="~4.6",
        default="60",
    ),
    Sysctl(
        "net.ipv4.tcp_rfc1337",
        does="ignores a RST for a socket in TIME_WAIT (RFC 1337)",
        price="",
        low=0,
        high=255,
        default="0",
    ),
    Sysctl(
        "net.ipv4.tcp_syn_retries",
        does="how often connect() repeats its SYN before ETIMEDOUT",
        price="fewer give up sooner; a single lost SYN costs at least 1 s either way",
        low=1,
        high=127,
        default="6",
    ),
    Sysctl(
        "net.ipv4.tcp_syn_linear_timeouts",
        does="how many SYN repeats come 1 s apart before the interval begins to double",
        price="",
        low=0,
        high=127,
        since="6.5",
        default="4",
    ),
)
