"""Every fault that the suite provokes for real, and the cause that must be named for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import flood
from tests.faults.stage import CLIENT, PORT, SERVER, Stage

Deed = Callable[[Stage], object]

_QUICK = ("--rate", "300", "--duration", "1", "--timeout", "0.6")
"""Each attempt sends one SYN: it is over before the second is due."""
_PATIENT = ("--rate", "100", "--duration", "1", "--timeout", "1.5")
"""Each attempt sends its SYN twice."""

_STRICT = ("--max-lateness", "0.1")
"""Where dropped arrivals are what the fault is about."""


def _memcached(stage: Stage) -> None:
    stage.memcached()


def _nothing(_: Stage) -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """One fault: how it is provoked, and what must come of it."""

    name: str
    injected: str
    """What is done, for people."""
    causes: tuple[str, ...]
    """The causes to be named, and no others; those of a run with two faults in any order."""
    serve: Deed = _memcached
    """Starts the server, after `prepare`."""
    prepare: Deed = _nothing
    during: Deed = _nothing
    """Done once the load has begun."""
    load: tuple[str, ...] = _QUICK
    prefix: tuple[str, ...] = ()
    host: bool = False
    """With a router between client and server."""
    fails: bool = True
    """Whether connections fail; else a limit is reached without failing anyone, or nothing is."""
    alone: bool = False
    """Needs the CPUs for itself."""

    def run(self, stage: Stage) -> None:
        """Provoke it, up to the start of the load and what happens during it."""
        self.prepare(stage)
        self.serve(stage)
        stage.load(*self.load, prefix=self.prefix)
        self.during(stage)


# --- the deeds ----------------------------------------------------------------------------------


def _ports(low: int, high: int) -> Deed:
    return lambda stage: stage.sysctl(stage.client, "net.ipv4.ip_local_port_range", f"{low} {high}")


def _setting(side: str, name: str, value: str) -> Deed:
    return lambda stage: stage.sysctl(stage.side(side), name, value)


def _all(*deeds: Deed) -> Deed:
    def do(stage: Stage) -> None:
        for deed in deeds:
            deed(stage)

    return do


def _full_conntrack(side: str) -> Deed:
    def do(stage: Stage) -> None:
        stage.track(stage.side(side))
        stage.fill_conntrack(stage.side(side), room=30)

    return do


def _rule(side: str, hook: str, rule: str) -> Deed:
    return lambda stage: stage.rule(stage.side(side), hook, rule)


def _misbehaving(manner: str, *arguments: str) -> Deed:
    return lambda stage: stage.misbehaving(manner, *arguments)


def _options(*options: str) -> Deed:
    return lambda stage: stage.memcached(*options)


def _at(t: float, deed: Deed) -> Deed:
    def do(stage: Stage) -> None:
        stage.until_time(t)
        deed(stage)

    return do


def _signal(number: signal.Signals) -> Deed:
    return lambda stage: os.kill(stage.servers[-1].pid, number)


def _hold(number: int) -> Deed:
    return lambda stage: stage.hold(number)


def _flood(stage: Stage) -> None:
    stage.inside(stage.client, lambda: flood.half_open(SERVER, PORT, count=200))


def _earlier(number: int) -> Deed:
    """Return an earlier load, which begins when the server is there."""
    return _all(_memcached, lambda stage: stage.use_ports(number))


_FROM_CLIENT = f"ip saddr {CLIENT} tcp dport {PORT}"
_SLOW_ACCEPT = _misbehaving("dawdles", "4", "0.02")

FAULTS: tuple[Fault, ...] = (
    Fault("healthy", "nothing", (), fails=False),
    Fault(
        "healthy, ports reused",
        "nothing: 100 ports at 150/s with tcp_tw_reuse=1 and a reuse delay of 100 ms",
        (),
        prepare=_all(
            _ports(20000, 20099),
            _setting("client", "net.ipv4.tcp_tw_reuse", "1"),
            _setting("client", "net.ipv4.tcp_tw_reuse_delay", "100"),
        ),
        load=("--rate", "150", "--duration", "1.5"),
        fails=False,
    ),
    Fault(
        "ports exhausted",
        "ip_local_port_range of 200 ports, 300 connections",
        ("ephemeral_ports_exhausted",),
        prepare=_ports(20000, 20199),
    ),
    Fault(
        "port search slow",
        "12,000 ports at 5,000/s: half of them are gone after 1.2 s",
        ("port_search_slow",),
        prepare=_ports(20000, 31999),
        load=("--rate", "5000", "--duration", "2.2", *_STRICT),
        alone=True,
    ),
    Fault(
        "port search slow, from before",
        "12,000 ports, 6,200 of them in TIME_WAIT before the first arrival, 5,000/s",
        ("port_search_slow",),
        prepare=_ports(20000, 31999),
        serve=_earlier(6200),
        load=("--rate", "5000", "--duration", "1", *_STRICT),
        alone=True,
    ),
    Fault(
        "port search slow, nobody lost",
        "12,000 ports, 6,200 of them in TIME_WAIT before the first arrival, 200/s",
        ("port_search_slow",),
        prepare=_ports(20000, 31999),
        serve=_earlier(6200),
        load=("--rate", "200", "--duration", "1"),
        fails=False,
        alone=True,
    ),
    Fault(
        "port search slow, closed loop",
        "12,000 ports, as fast as possible: half of them are gone after half a second",
        ("port_search_slow",),
        prepare=_ports(20000, 31999),
        load=("--rate", "max", "--concurrency", "128", "--duration", "2"),
        fails=False,
        alone=True,
    ),
    Fault(
        "port search slow, closed loop, from before",
        "12,000 ports, 6,200 of them in TIME_WAIT before the first arrival, as fast as possible",
        ("port_search_slow",),
        prepare=_ports(20000, 31999),
        serve=_earlier(6200),
        load=("--rate", "max", "--concurrency", "128", "--duration", "1"),
        fails=False,
        alone=True,
    ),
    Fault(
        "bind without IP_BIND_ADDRESS_NO_PORT",
        "--bind-early with 200 ports, 300 connections",
        ("bind_without_no_port",),
        prepare=_ports(20000, 20199),
        load=(*_QUICK, "--source-ip", CLIENT, "--bind-early"),
    ),
    Fault(
        "client out of descriptors",
        "prlimit --nofile=80 and a server that answers 50/s",
        ("client_out_of_file_descriptors",),
        serve=_misbehaving("dawdles", "1024", "0.02"),
        load=("--rate", "200", "--duration", "1", "--timeout", "5", "--max-in-flight", "500"),
        prefix=("prlimit", "--nofile=80:80"),
    ),
    Fault(
        "conntrack full on the client",
        "the client's table filled up to 30 entries",
        ("conntrack_full_client",),
        prepare=_full_conntrack("client"),
        load=_PATIENT,
    ),
    Fault(
        "conntrack full on the server",
        "the server's table filled up to 30 entries",
        ("conntrack_full_server",),
        prepare=_full_conntrack("server"),
        load=_PATIENT,
    ),
    Fault(
        "conntrack full between",
        "a router's table filled up to 30 entries",
        ("conntrack_full_between",),
        prepare=_full_conntrack("host"),
        load=_PATIENT,
        host=True,
    ),
    Fault(
        "TIME_WAIT buckets overflow",
        "tcp_max_tw_buckets=60: 300 connections over 200 ports all succeed",
        ("time_wait_overflow",),
        prepare=_all(_ports(20000, 20199), _setting("client", "net.ipv4.tcp_max_tw_buckets", "60")),
        fails=False,
    ),
    Fault(
        "accept queue full",
        "listen(4) and a server that accepts 50/s",
        ("accept_queue_overflow",),
        serve=_SLOW_ACCEPT,
    ),
    Fault(
        "SYN queue full, no cookies",
        "listen(64), 200 half-open connections, tcp_syncookies=0",
        ("syn_queue_full",),
        prepare=_setting("server", "net.ipv4.tcp_syncookies", "0"),
        serve=_options("-b", "64"),
        during=_at(0.4, _flood),
    ),
    Fault(
        "SYN queue full, cookies",
        "listen(64), 200 half-open connections, tcp_syncookies=1",
        ("syn_cookies_sent",),
        serve=_options("-b", "64"),
        during=_at(0.4, _flood),
        fails=False,
    ),
    Fault("server refuses", "no server", ("server_refuses",), serve=_nothing),
    Fault(
        "connection limit",
        "memcached -c 40, 40 connections held",
        ("server_connection_limit",),
        serve=_options("-c", "40"),
        during=_at(0.5, _hold(40)),
    ),
    Fault(
        "connection limit, slow mode",
        "memcached -c 40 -o no_maxconns_fast, 40 connections held",
        ("server_connection_limit",),
        serve=_options("-c", "40", "-o", "no_maxconns_fast"),
        during=_at(0.5, _hold(40)),
    ),
    Fault(
        "server stopped",
        "SIGSTOP",
        ("server_silent",),
        during=_at(0.5, _signal(signal.SIGSTOP)),
    ),
    Fault(
        "server stopped, short queue",
        "SIGSTOP, memcached -b 16: the accept queue overflows too",
        ("server_silent",),
        serve=_options("-b", "16"),
        during=_at(0.5, _signal(signal.SIGSTOP)),
    ),
    Fault(
        "server slow",
        "a server that answers 50/s, asked 300/s",
        ("server_slow",),
        serve=_misbehaving("dawdles", "1024", "0.02"),
    ),
    Fault(
        "in flight because of a slow server",
        "a server that answers 100/s, --max-in-flight 20",
        ("server_slow",),
        serve=_misbehaving("dawdles", "1024", "0.01"),
        load=(*_QUICK, "--max-in-flight", "20", *_STRICT),
    ),
    Fault(
        "server killed",
        "SIGKILL",
        ("server_gone",),
        during=_at(0.5, _signal(signal.SIGKILL)),
    ),
    Fault(
        "server resets",
        "a server that closes with RST",
        ("server_resets",),
        serve=_misbehaving("resets"),
    ),
    Fault(
        "server closes early",
        "a server that closes in the middle of its reply",
        ("server_closes_early",),
        serve=_misbehaving("truncates"),
    ),
    Fault(
        "malformed reply",
        "a server that speaks another protocol",
        ("malformed_reply",),
        serve=_misbehaving("babbles"),
    ),
    Fault(
        "server error",
        "a server that answers SERVER_ERROR",
        ("server_error",),
        serve=_misbehaving("errs"),
    ),
    Fault(
        "packet loss",
        "60 % of the SYN/ACKs dropped at the client's device, uncounted",
        ("packet_loss",),
        prepare=lambda stage: stage.lose(stage.client, percent=60),
        load=_PATIENT,
    ),
    Fault(
        "firewall drops on the client",
        "nft drop in the client's output",
        ("firewall_client",),
        prepare=_rule("client", "output", f"tcp dport {PORT} drop"),
        load=_PATIENT,
    ),
    Fault(
        "firewall rejects on the client, RST",
        "nft reject with tcp reset in the client's output",
        ("firewall_client",),
        prepare=_rule("client", "output", f"tcp dport {PORT} reject with tcp reset"),
    ),
    Fault(
        "firewall rejects on the client, ICMP",
        "nft reject with icmp admin-prohibited in the client's output",
        ("firewall_client",),
        prepare=_rule(
            "client", "output", f"tcp dport {PORT} reject with icmp type admin-prohibited"
        ),
        load=_PATIENT,
    ),
    Fault(
        "firewall drops on the server",
        "nft drop in the server's input",
        ("firewall_server",),
        prepare=_rule("server", "input", f"{_FROM_CLIENT} drop"),
    ),
    Fault(
        "firewall rejects on the server, RST",
        "nft reject with tcp reset in the server's input",
        ("firewall_server",),
        prepare=_rule("server", "input", f"{_FROM_CLIENT} reject with tcp reset"),
    ),
    Fault(
        "firewall rejects on the server, ICMP",
        "nft reject with icmp admin-prohibited in the server's input",
        ("firewall_server",),
        prepare=_rule("server", "input", f"{_FROM_CLIENT} reject with icmp type admin-prohibited"),
        load=_PATIENT,
    ),
    Fault(
        "firewall drops between",
        "nft drop in a router's forward chain",
        ("firewall_between",),
        prepare=_rule("host", "forward", f"{_FROM_CLIENT} drop"),
        host=True,
    ),
    Fault(
        "no route to the server",
        "the client's route deleted",
        ("no_route",),
        prepare=lambda stage: stage.ip(stage.client, "route del 198.19.0.0/16"),
    ),
    Fault(
        "no route back",
        "the server's route to the client deleted",
        ("no_way_back",),
        prepare=lambda stage: stage.ip(stage.server, "route del 198.18.0.0/16"),
    ),
    Fault(
        "next hop dead",
        "the client's route leads to an address that nobody has",
        ("unreachable",),
        prepare=lambda stage: stage.ip(
            stage.client, "route replace 198.19.0.0/16 via 198.18.7.7 dev lan"
        ),
        load=("--rate", "50", "--duration", "1", "--timeout", "4"),
    ),
    Fault(
        "generator too slow",
        "200,000/s asked of one worker, ports in plenty",
        ("generator_saturated",),
        # Replies pile up beside the arrivals: not the server's limit is what this is about.
        serve=_options("-c", "15000"),
        load=("--rate", "200000", "--duration", "0.8", "--close", "server", *_STRICT),
        alone=True,
    ),
    Fault(
        "ports exhausted and conntrack full on the server",
        "100 ports, 200 connections, and the server's table filled up to 30 entries",
        ("ephemeral_ports_exhausted", "conntrack_full_server"),
        prepare=_all(_ports(20000, 20099), _full_conntrack("server")),
        load=("--rate", "200", "--duration", "1", "--timeout", "1.5"),
    ),
    Fault(
        "firewall and accept queue, both on the server",
        "nft drops each third SYN, listen(4) and a server that accepts 50/s",
        ("accept_queue_overflow", "firewall_server"),
        prepare=_rule(
            "server",
            "input",
            f"{_FROM_CLIENT} tcp flags & (syn|ack) == syn numgen inc mod 3 == 0 counter drop",
        ),
        serve=_SLOW_ACCEPT,
    ),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
