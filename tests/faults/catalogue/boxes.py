"""A NAT or a proxy between client and server."""

from __future__ import annotations

import time

from tests.faults import deeds
from tests.faults.fault import PATIENT, Fault

FAULTS: tuple[Fault, ...] = (
    Fault(
        "NAT out of ports",
        "a router masquerades to 50 ports, which another client's connections hold",
        ("nat_ports_exhausted",),
        prepare=lambda stage: stage.network.masquerade("to :10000-10049"),
        deed=deeds.hold(50, "client-2"),
        middle="nat",
        load=PATIENT,
    ),
    Fault(
        "NAT out of ports, watched as host",
        "the same, and nobody says that it is a NAT",
        ("nat_ports_exhausted",),
        prepare=lambda stage: stage.network.masquerade("to :10000-10049"),
        deed=deeds.hold(50, "client-2"),
        middle="nat",
        known_as="host",
        load=PATIENT,
    ),
    Fault(
        "SYN meets TIME_WAIT behind a NAT",
        "another client's connections, closed by the server; the NAT forgets them after 1 s and uses "
        "their ports again",
        ("time_wait_answers_syn",),
        prepare=deeds.forgetful_nat,
        deed=deeds.left_behind,
        before=deeds.all_of(
            deeds.left_behind, lambda _: time.sleep(1.2)
        ),  # the NAT's timers are of 1 s
        middle="nat",
        load=(
            *("--rate", "100", "--duration", "2.5", "--timeout", "1.5", "--close", "server"),
            *(f"--source-ip=198.18.0.{number}" for number in range(1, 9)),
        ),
    ),
    Fault(
        "conntrack full on a NAT",
        "a masquerading router's table filled up",
        ("conntrack_full_nat",),
        prepare=deeds.all_of(lambda stage: stage.network.masquerade(), deeds.track("middle")),
        approach=deeds.fill("middle", 30),
        before=deeds.fill("middle"),
        middle="nat",
        load=PATIENT,
    ),
    Fault(
        "proxy out of ports",
        "an haproxy with 100 local ports toward its memcached, used up",
        ("proxy_ports_exhausted",),
        prepare=deeds.setting("middle", "net.ipv4.ip_local_port_range", "20000 20099"),
        serve=deeds.PROXIED,
        before=deeds.earlier(100, "middle"),
        middle="proxy",
    ),
    Fault(
        "proxy out of ports, watched as server",
        "the same, and nobody says that it is a proxy",
        ("proxy_ports_exhausted",),
        prepare=deeds.setting("middle", "net.ipv4.ip_local_port_range", "20000 20099"),
        serve=deeds.PROXIED,
        before=deeds.earlier(100, "middle"),
        middle="proxy",
        known_as="server",
        watched=("server",),
    ),
    Fault(
        "proxy at its connection limit",
        "an haproxy with maxconn 40, 40 connections held through it",
        ("proxy_takes_no_more",),
        serve=deeds.all_of(deeds.memcached, lambda stage: stage.haproxy("maxconn 40")),
        deed=deeds.hold(40, "client-2"),
        middle="proxy",
    ),
    Fault(
        "proxy out of descriptors",
        "an haproxy whose open files are limited to those it has and 40 more, 20 connections held",
        ("proxy_out_of_file_descriptors",),
        serve=deeds.PROXIED,
        deed=deeds.all_of(
            lambda stage: stage.limit_server(stage.open_files() + 40), deeds.hold(20, "client-2")
        ),
        middle="proxy",
    ),
)
