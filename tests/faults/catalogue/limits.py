"""What a kernel runs out of, ports, entries or TIME_WAIT, and runs in which it does not."""

from __future__ import annotations

from tests.faults import deeds
from tests.faults.fault import MOMENT, PATIENT, QUICK, STRICT, Fault
from tests.faults.network import CLIENT

FAULTS: tuple[Fault, ...] = (
    Fault("healthy", "nothing", (), once="nothing is provoked", fails=False),
    Fault(
        "healthy, ports reused",
        "nothing: 100 ports at 150/s with tcp_tw_reuse=1 and a reuse delay of 100 ms",
        (),
        once="nothing is provoked",
        prepare=deeds.all_of(
            deeds.ports(20000, 20099),
            deeds.setting("client", "net.ipv4.tcp_tw_reuse", "1"),
            deeds.setting("client", "net.ipv4.tcp_tw_reuse_delay", "100"),
        ),
        load=("--rate", "150", "--duration", "1.5"),
        fails=False,
    ),
    Fault(
        "healthy behind a NAT",
        "nothing: a router masquerades, to ports in plenty",
        (),
        once="nothing is provoked",
        prepare=lambda stage: stage.network.masquerade(),
        middle="nat",
        fails=False,
    ),
    Fault(
        "healthy behind a proxy",
        "nothing: an haproxy passes every connection on",
        (),
        once="nothing is provoked",
        serve=deeds.PROXIED,
        middle="proxy",
        fails=False,
    ),
    Fault(
        "ports exhausted",
        "ip_local_port_range of 200 ports, used up",
        ("ephemeral_ports_exhausted",),
        prepare=deeds.ports(20000, 20199),
        before=deeds.earlier(200),
    ),
    Fault(
        "port search slow",
        "12,000 ports at 5,000/s, more than half of them in TIME_WAIT",
        ("port_search_slow",),
        prepare=deeds.ports(20000, 31999),
        before=deeds.earlier(6200),
        load=("--rate", "5000", "--duration", "2", *STRICT),
        alone=True,
    ),
    Fault(
        "port search slow, nobody lost",
        "12,000 ports at 200/s, more than half of them in TIME_WAIT",
        ("port_search_slow",),
        prepare=deeds.ports(20000, 31999),
        before=deeds.earlier(6200),
        during=deeds.at(0.2, deeds.earlier(6200)),
        load=("--rate", "200", "--duration", "2.5"),
        fails=False,
        alone=True,
    ),
    Fault(
        "port search slow, closed loop",
        "12,000 ports, as fast as possible, until more than half of them are in TIME_WAIT",
        ("port_search_slow",),
        prepare=deeds.ports(20000, 31999),
        before=deeds.earlier(6200),
        load=("--rate", "max", "--concurrency", "128", "--duration", "2"),
        fails=False,
        alone=True,
    ),
    Fault(
        "bind without IP_BIND_ADDRESS_NO_PORT",
        "--bind-early with 200 ports, used up",
        ("bind_without_no_port",),
        prepare=deeds.ports(20000, 20199),
        before=deeds.earlier(200),
        load=(*QUICK, "--source-ip", CLIENT, "--bind-early"),
    ),
    Fault(
        "client out of descriptors",
        "80 open files at most (RLIMIT_NOFILE) and a server that answers 50/s",
        ("client_out_of_file_descriptors",),
        serve=deeds.misbehaving("dawdles", "1024", "0.02"),
        before=deeds.TURN_BAD,
        during=deeds.at(
            MOMENT, deeds.all_of(deeds.TURN_BAD, lambda stage: stage.limit_workers(80))
        ),
        load=("--rate", "200", "--duration", "1", "--timeout", "5", "--max-in-flight", "500"),
        prefix=("prlimit", "--nofile=80:80"),
    ),
    Fault(
        "conntrack full on the client",
        "the client's table filled up",
        ("conntrack_full_client",),
        prepare=deeds.track("client"),
        approach=deeds.fill("client", 30),
        before=deeds.fill("client"),
        load=PATIENT,
    ),
    Fault(
        "conntrack full on the server",
        "the server's table filled up",
        ("conntrack_full_server",),
        prepare=deeds.track("server"),
        approach=deeds.fill("server", 30),
        before=deeds.fill("server"),
        load=PATIENT,
    ),
    Fault(
        "conntrack full between",
        "a router's table filled up",
        ("conntrack_full_between",),
        prepare=deeds.track("middle"),
        approach=deeds.fill("middle", 30),
        before=deeds.fill("middle"),
        load=PATIENT,
        middle="router",
    ),
    Fault(
        "TIME_WAIT buckets overflow",
        "tcp_max_tw_buckets=60: 300 connections over 200 ports all succeed",
        ("time_wait_overflow",),
        prepare=deeds.all_of(
            deeds.ports(20000, 20199), deeds.setting("client", "net.ipv4.tcp_max_tw_buckets", "60")
        ),
        before=deeds.earlier(60),
        fails=False,
    ),
)
