"""Every fault that the suite provokes for real, and the cause that must be named for it.

Each is provoked twice: while the load runs, and before its first arrival. A host with a history must
get the same answer as one whose limit is reached under the eyes of the tool.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.faults import flood
from tests.faults.stage import CLIENT, PORT, SERVER, Stage

Deed = Callable[[Stage], object]
When = Literal["during", "before"]
MOMENT: Final = 0.3
"""Seconds into the run, at which a fault comes that comes during it."""

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
    also: tuple[str, ...] = ()
    """What the same deed brings with it in some runs, and is as true: allowed, not asked for."""
    serve: Deed = _memcached
    """Starts the server, after `prepare`."""
    prepare: Deed = _nothing
    deed: Deed = _nothing
    """What makes the fault, once the server is there."""
    before: Deed | None = None
    """The same before the load begins, where that takes something else."""
    during: Deed | None = None
    """The same during the load, where that takes something else than `deed` in the middle of it."""
    approach: Deed = _nothing
    """Where the load itself makes the fault during the run: brings the host near to it."""
    once: str = ""
    """Why it is provoked in one way only."""
    load: tuple[str, ...] = _QUICK
    prefix: tuple[str, ...] = ()
    """A command to run the load under, where the fault comes before it."""
    middle: str = ""
    """The role of a box between client and server."""
    known_as: str = ""
    """The role under which that box is watched, where it is another."""
    watched: tuple[str, ...] | None = None
    """The roles that are watched beside the client; None for all."""
    fails: bool = True
    """Whether connections fail; else a limit is reached without failing anyone, or nothing is."""
    alone: bool = False
    """Needs the CPUs for itself."""

    @property
    def whens(self) -> tuple[When, ...]:
        """The ways in which it is provoked."""
        return ("during",) if self.once else ("during", "before")

    def stage(self, directory: Path) -> Stage:
        """Return the stage that it is played on."""
        return Stage(directory, middle=self.middle, watched=self.watched, known_as=self.known_as)

    def run(self, stage: Stage, when: When) -> None:
        """Provoke it, up to the start of the load and what happens during it."""
        self.prepare(stage)
        self.serve(stage)
        if when == "before":
            (self.before or self.deed)(stage)
        else:
            self.approach(stage)
        stage.load(*self.load, prefix=self.prefix if when == "before" else ())
        if when == "during":
            (self.during or _at(MOMENT, self.deed))(stage)


@dataclass(frozen=True)
class Case:
    """A fault, provoked in one of its ways."""

    fault: Fault
    when: When

    @property
    def name(self) -> str:
        """The fault's name, and `, before` where that is when it came."""
        return self.fault.name + (", before" if self.when == "before" else "")


# --- the deeds ----------------------------------------------------------------------------------


def _ports(low: int, high: int) -> Deed:
    return lambda stage: stage.sysctl(stage.client, "net.ipv4.ip_local_port_range", f"{low} {high}")


def _setting(side: str, name: str, value: str) -> Deed:
    return lambda stage: stage.sysctl(stage.side(side), name, value)


def _greet(stage: Stage) -> None:
    """Have client and server resolve each other's addresses, by one connection."""

    def connect() -> None:
        with socket.create_connection((SERVER, PORT), timeout=2):
            pass

    stage.inside(stage.client, connect)


def _all(*deeds: Deed) -> Deed:
    def do(stage: Stage) -> None:
        for deed in deeds:
            deed(stage)

    return do


def _track(side: str) -> Deed:
    return lambda stage: stage.track(stage.side(side))


def _fill(side: str, room: int = 0) -> Deed:
    return lambda stage: stage.fill_conntrack(stage.side(side), room=room)


def _rule(side: str, hook: str, rule: str) -> Deed:
    return lambda stage: stage.rule(stage.side(side), hook, rule)


def _misbehaving(manner: str, *arguments: str) -> Deed:
    return lambda stage: stage.misbehaving(manner, *arguments)


def _options(*options: str) -> Deed:
    return lambda stage: stage.memcached(*options)


def _at(t: float, deed: Deed) -> Deed:
    def do(stage: Stage) -> None:
        if deed is not _nothing:
            stage.until_time(t)
            deed(stage)

    return do


def _signal(number: signal.Signals) -> Deed:
    return lambda stage: os.kill(stage.servers[-1].pid, number)


def _hold(number: int, role: str = "server") -> Deed:
    return lambda stage: stage.hold(number, role)


def _ip(side: str, *commands: str) -> Deed:
    return lambda stage: stage.ip(stage.side(side), *commands)


def _flood(stage: Stage) -> None:
    stage.inside(stage.client, lambda: flood.half_open(SERVER, PORT, count=200))


def _earlier(number: int, role: str = "client") -> Deed:
    """Return an earlier load, which leaves so many ports in TIME_WAIT."""
    return lambda stage: stage.use_ports(number, role)


def _keep_flooding(stage: Stage) -> None:
    """Half-open connections are given up after some seconds: go on while the load begins."""
    stage.keep_flooding()


def _forgetful_nat(stage: Stage) -> None:
    """Make a NAT that forgets closed connections after 1 s, and clients that share few ports.

    Which of two addresses has the younger timestamps is drawn by the kernel: of eight, some have
    older ones than the other client's. A RST, which would end the server's TIME_WAIT, is ignored there
    (RFC 1337).
    """
    stage.masquerade()
    for state in ("time_wait", "close", "last_ack", "fin_wait", "close_wait"):
        _setting("middle", f"net.netfilter.nf_conntrack_tcp_timeout_{state}", "1")(stage)
    _setting("server", "net.ipv4.tcp_rfc1337", "1")(stage)
    for side in ("client", "client-2"):
        _setting(side, "net.ipv4.ip_local_port_range", "20000 20199")(stage)
    stage.ip(stage.client, *(f"addr add 198.18.0.{number}/16 dev lan" for number in range(2, 9)))


def _left_behind(stage: Stage) -> None:
    stage.leave_time_wait(300, "client-2")


_FROM_CLIENT = f"ip saddr {CLIENT} tcp dport {PORT}"
_TURN_BAD = _signal(signal.SIGUSR1)
_SHORT_QUEUE = _misbehaving("dawdles", "4", "0.02")
_PROXIED = _all(_memcached, lambda stage: stage.haproxy())
_FROM_ITS_START = "a server speaks its protocol from its start"
_NO_WAY = "198.19.0.0/16"
_NO_WAY_BACK = "198.18.0.0/16"

FAULTS: tuple[Fault, ...] = (
    Fault("healthy", "nothing", (), once="nothing is provoked", fails=False),
    Fault(
        "healthy, ports reused",
        "nothing: 100 ports at 150/s with tcp_tw_reuse=1 and a reuse delay of 100 ms",
        (),
        once="nothing is provoked",
        prepare=_all(
            _ports(20000, 20099),
            _setting("client", "net.ipv4.tcp_tw_reuse", "1"),
            _setting("client", "net.ipv4.tcp_tw_reuse_delay", "100"),
        ),
        load=("--rate", "150", "--duration", "1.5"),
        fails=False,
    ),
    Fault(
        "healthy behind a NAT",
        "nothing: a router masquerades, to ports in plenty",
        (),
        once="nothing is provoked",
        prepare=lambda stage: stage.masquerade(),
        middle="nat",
        fails=False,
    ),
    Fault(
        "healthy behind a proxy",
        "nothing: an haproxy passes every connection on",
        (),
        once="nothing is provoked",
        serve=_PROXIED,
        middle="proxy",
        fails=False,
    ),
    Fault(
        "ports exhausted",
        "ip_local_port_range of 200 ports, used up",
        ("ephemeral_ports_exhausted",),
        prepare=_ports(20000, 20199),
        before=_earlier(200),
    ),
    Fault(
        "port search slow",
        "12,000 ports at 5,000/s, more than half of them in TIME_WAIT",
        ("port_search_slow",),
        prepare=_ports(20000, 31999),
        before=_earlier(6200),
        load=("--rate", "5000", "--duration", "2", *_STRICT),
        alone=True,
    ),
    Fault(
        "port search slow, nobody lost",
        "12,000 ports at 200/s, more than half of them in TIME_WAIT",
        ("port_search_slow",),
        prepare=_ports(20000, 31999),
        before=_earlier(6200),
        during=_at(0.2, _earlier(6200)),
        load=("--rate", "200", "--duration", "2.5"),
        fails=False,
        alone=True,
    ),
    Fault(
        "port search slow, closed loop",
        "12,000 ports, as fast as possible, until more than half of them are in TIME_WAIT",
        ("port_search_slow",),
        prepare=_ports(20000, 31999),
        before=_earlier(6200),
        load=("--rate", "max", "--concurrency", "128", "--duration", "2"),
        fails=False,
        alone=True,
    ),
    Fault(
        "bind without IP_BIND_ADDRESS_NO_PORT",
        "--bind-early with 200 ports, used up",
        ("bind_without_no_port",),
        prepare=_ports(20000, 20199),
        before=_earlier(200),
        load=(*_QUICK, "--source-ip", CLIENT, "--bind-early"),
    ),
    Fault(
        "client out of descriptors",
        "80 open files at most (RLIMIT_NOFILE) and a server that answers 50/s",
        ("client_out_of_file_descriptors",),
        serve=_misbehaving("dawdles", "1024", "0.02"),
        before=_TURN_BAD,
        during=_at(MOMENT, _all(_TURN_BAD, lambda stage: stage.limit_workers(80))),
        load=("--rate", "200", "--duration", "1", "--timeout", "5", "--max-in-flight", "500"),
        prefix=("prlimit", "--nofile=80:80"),
    ),
    Fault(
        "conntrack full on the client",
        "the client's table filled up",
        ("conntrack_full_client",),
        prepare=_track("client"),
        approach=_fill("client", 30),
        before=_fill("client"),
        load=_PATIENT,
    ),
    Fault(
        "conntrack full on the server",
        "the server's table filled up",
        ("conntrack_full_server",),
        prepare=_track("server"),
        approach=_fill("server", 30),
        before=_fill("server"),
        load=_PATIENT,
    ),
    Fault(
        "conntrack full between",
        "a router's table filled up",
        ("conntrack_full_between",),
        prepare=_track("middle"),
        approach=_fill("middle", 30),
        before=_fill("middle"),
        load=_PATIENT,
        middle="router",
    ),
    Fault(
        "TIME_WAIT buckets overflow",
        "tcp_max_tw_buckets=60: 300 connections over 200 ports all succeed",
        ("time_wait_overflow",),
        prepare=_all(_ports(20000, 20199), _setting("client", "net.ipv4.tcp_max_tw_buckets", "60")),
        before=_earlier(60),
        fails=False,
    ),
    Fault(
        "accept queue full",
        "listen(4) and a server that accepts 50/s",
        ("accept_queue_overflow",),
        serve=_SHORT_QUEUE,
        deed=_TURN_BAD,
    ),
    Fault(
        "accept queue full, RST",
        "listen(4) and a server that accepts 20/s, tcp_abort_on_overflow=1",
        ("accept_queue_overflow",),
        also=("syn_cookies_sent",),  # listen(4) bounds the queue of SYNs too
        prepare=_setting("server", "net.ipv4.tcp_abort_on_overflow", "1"),
        serve=_misbehaving("dawdles", "4", "0.05"),
        deed=_TURN_BAD,
        load=("--rate", "100", "--duration", "1", "--timeout", "2"),
    ),
    Fault(
        "accept queue full, only the client watched",
        "listen(4) and a server that accepts 20/s, and nobody sees the server's counters",
        ("lost_beyond_client", "server_slow"),
        serve=_misbehaving("dawdles", "4", "0.05"),
        deed=_TURN_BAD,
        watched=(),
        load=("--rate", "100", "--duration", "1", "--timeout", "1.5"),
    ),
    Fault(
        "SYN queue full, no cookies",
        "listen(64), 200 half-open connections, tcp_syncookies=0",
        ("syn_queue_full",),
        prepare=_setting("server", "net.ipv4.tcp_syncookies", "0"),
        serve=_options("-b", "64"),
        deed=_flood,
        before=_keep_flooding,
    ),
    Fault(
        "SYN queue full, cookies",
        "listen(64), 200 half-open connections, tcp_syncookies=1",
        ("syn_cookies_sent",),
        serve=_options("-b", "64"),
        deed=_flood,
        before=_keep_flooding,
        fails=False,
    ),
    Fault(
        "server refuses",
        "no server",
        ("server_refuses",),
        serve=_nothing,
        once="during the run it is a server killed",
    ),
    Fault(
        "server killed",
        "SIGKILL",
        ("server_gone",),
        deed=_signal(signal.SIGKILL),
        once="before the run it is a server that refuses",
    ),
    Fault(
        "connection limit",
        "memcached -c 40, 40 connections held",
        ("server_connection_limit",),
        serve=_options("-c", "40"),
        deed=_hold(40),
    ),
    Fault(
        "connection limit, slow mode",
        "memcached -c 40 -o no_maxconns_fast, 40 connections held",
        ("server_connection_limit",),
        serve=_options("-c", "40", "-o", "no_maxconns_fast"),
        deed=_hold(40),
        once="a memcached that was full before the run never tells its -c, and bounds its files by it",
    ),
    Fault(
        "server out of descriptors",
        "memcached -c 1024, its open files limited to those it has and 10 more, 20 connections held",
        ("server_out_of_file_descriptors",),
        serve=_options("-c", "1024"),
        deed=_all(lambda stage: stage.limit_server(stage.open_files() + 10), _hold(20)),
    ),
    Fault(
        "server stopped",
        "SIGSTOP",
        ("server_silent",),
        deed=_signal(signal.SIGSTOP),
    ),
    Fault(
        "server stopped, short queue",
        "SIGSTOP, memcached -b 16: the accept queue overflows too",
        ("server_silent",),
        serve=_options("-b", "16"),
        deed=_signal(signal.SIGSTOP),
    ),
    Fault(
        "server slow",
        "a server that answers 50/s, asked 300/s",
        ("server_slow",),
        serve=_misbehaving("dawdles", "1024", "0.02"),
        deed=_TURN_BAD,
    ),
    Fault(
        "in flight because of a slow server",
        "a server that answers 100/s, --max-in-flight 20",
        ("server_slow",),
        serve=_misbehaving("dawdles", "1024", "0.01"),
        deed=_TURN_BAD,
        load=(*_QUICK, "--max-in-flight", "20", *_STRICT),
    ),
    Fault(
        "server resets",
        "a server that closes with RST",
        ("server_resets",),
        serve=_misbehaving("resets"),
        deed=_TURN_BAD,
    ),
    Fault(
        "server closes early",
        "a server that closes in the middle of its reply",
        ("server_closes_early",),
        serve=_misbehaving("truncates"),
        deed=_TURN_BAD,
    ),
    Fault(
        "malformed reply",
        "a server that answers what no protocol known here does",
        ("malformed_reply",),
        serve=_misbehaving("babbles"),
        deed=_TURN_BAD,
    ),
    Fault(
        "server error",
        "a server that answers SERVER_ERROR",
        ("server_error",),
        serve=_misbehaving("errs"),
        deed=_TURN_BAD,
    ),
    Fault(
        "binary protocol",
        "memcached -B binary",
        ("wrong_protocol",),
        serve=_options("-B", "binary"),
        once=_FROM_ITS_START,
    ),
    Fault(
        "TLS",
        "memcached with TLS",
        ("wrong_protocol",),
        serve=lambda stage: stage.memcached(*stage.tls()),
        once=_FROM_ITS_START,
    ),
    Fault(
        "authentication",
        "memcached -Y, with users and passwords",
        ("authentication_wanted",),
        serve=lambda stage: stage.memcached(*stage.passwords()),
        once=_FROM_ITS_START,
    ),
    Fault(
        "another protocol",
        "a web server",
        ("wrong_protocol",),
        serve=_misbehaving("serves_http"),
        deed=_TURN_BAD,
    ),
    Fault(
        "packet loss",
        "60 % of the SYN/ACKs dropped at the client's device, uncounted",
        ("packet_loss",),
        deed=lambda stage: stage.lose(stage.client, percent=60),
        load=_PATIENT,
    ),
    Fault(
        "firewall drops on the client",
        "nft drop in the client's output",
        ("firewall_client",),
        deed=_rule("client", "output", f"tcp dport {PORT} drop"),
        load=_PATIENT,
    ),
    Fault(
        "firewall rejects on the client, RST",
        "nft reject with tcp reset in the client's output",
        ("firewall_client",),
        deed=_rule("client", "output", f"tcp dport {PORT} reject with tcp reset"),
    ),
    Fault(
        "firewall rejects on the client, ICMP",
        "nft reject with icmp admin-prohibited in the client's output",
        ("firewall_client",),
        deed=_rule("client", "output", f"tcp dport {PORT} reject with icmp type admin-prohibited"),
        load=_PATIENT,
    ),
    Fault(
        "firewall rejects on the client, port unreachable",
        "nft reject in the client's output",
        ("firewall_client",),
        deed=_rule("client", "output", f"tcp dport {PORT} reject"),
        load=_PATIENT,
    ),
    Fault(
        "firewall drops on the server",
        "nft drop in the server's input",
        ("firewall_server",),
        deed=_rule("server", "input", f"{_FROM_CLIENT} drop"),
    ),
    Fault(
        "firewall rejects on the server, RST",
        "nft reject with tcp reset in the server's input",
        ("firewall_server",),
        deed=_rule("server", "input", f"{_FROM_CLIENT} reject with tcp reset"),
    ),
    Fault(
        "firewall rejects on the server, ICMP",
        "nft reject with icmp admin-prohibited in the server's input",
        ("firewall_server",),
        deed=_rule("server", "input", f"{_FROM_CLIENT} reject with icmp type admin-prohibited"),
        load=_PATIENT,
    ),
    Fault(
        "firewall drops between",
        "nft drop in a router's forward chain",
        ("firewall_between",),
        deed=_rule("middle", "forward", f"{_FROM_CLIENT} drop"),
        middle="router",
    ),
    Fault(
        "rp_filter on the server",
        "rp_filter=1 on the server, whose route to the client leads elsewhere",
        ("reverse_path_filter_server",),
        prepare=_ip(
            "server",
            "link add elsewhere type veth peer name nowhere",
            "link set elsewhere up",
            "link set nowhere up",
        ),
        deed=_all(
            _setting("server", "net.ipv4.conf.all.rp_filter", "1"),
            _ip("server", f"route replace {CLIENT}/32 dev elsewhere"),
        ),
        # Hosts with a history have met: the filter answers no ARP request either.
        before=_all(
            _greet,
            _setting("server", "net.ipv4.conf.all.rp_filter", "1"),
            _ip("server", f"route replace {CLIENT}/32 dev elsewhere"),
        ),
        load=_PATIENT,
    ),
    Fault(
        "no route to the server",
        "the client's route deleted",
        ("no_route",),
        deed=_ip("client", f"route del {_NO_WAY}"),
    ),
    *(
        Fault(
            f"{kind} route on the client",
            f"the client's route to the server is a {kind} route",
            ("no_route",),
            deed=_ip("client", f"route replace {kind} {_NO_WAY}"),
        )
        for kind in ("blackhole", "prohibit", "unreachable")
    ),
    Fault(
        "no route between",
        "a router's route to the server deleted",
        ("no_route_between",),
        deed=_ip("middle", f"route del {_NO_WAY}"),
        middle="router",
        load=_PATIENT,
    ),
    *(
        Fault(
            f"{kind} route between",
            f"a router's route to the server is a {kind} route",
            ("no_route_between",),
            deed=_ip("middle", f"route add {kind} {SERVER}/32"),
            middle="router",
            load=_PATIENT,
        )
        for kind in ("blackhole", "prohibit", "unreachable")
    ),
    Fault(
        "no route back",
        "the server's route to the client deleted",
        ("no_way_back",),
        deed=_ip("server", f"route del {_NO_WAY_BACK}"),
    ),
    Fault(
        "blackhole route back",
        "the server's route to the client is a blackhole route",
        ("no_way_back",),
        deed=_ip("server", f"route replace blackhole {_NO_WAY_BACK}"),
        load=_PATIENT,
    ),
    Fault(
        "next hop dead",
        "the client's route leads to an address that nobody has",
        ("unreachable",),
        deed=_ip("client", f"route replace {_NO_WAY} via 198.18.7.7 dev lan"),
        load=("--rate", "50", "--duration", "1", "--timeout", "4"),
    ),
    Fault(
        "NAT out of ports",
        "a router masquerades to 50 ports, which another client's connections hold",
        ("nat_ports_exhausted",),
        prepare=lambda stage: stage.masquerade("to :10000-10049"),
        deed=_hold(50, "client-2"),
        middle="nat",
        load=_PATIENT,
    ),
    Fault(
        "NAT out of ports, watched as host",
        "the same, and nobody says that it is a NAT",
        ("nat_ports_exhausted",),
        prepare=lambda stage: stage.masquerade("to :10000-10049"),
        deed=_hold(50, "client-2"),
        middle="nat",
        known_as="host",
        load=_PATIENT,
    ),
    Fault(
        "SYN meets TIME_WAIT behind a NAT",
        "another client's connections, closed by the server; the NAT forgets them after 1 s and uses "
        "their ports again",
        ("time_wait_answers_syn",),
        prepare=_forgetful_nat,
        deed=_left_behind,
        before=_all(_left_behind, lambda _: time.sleep(1.2)),  # the NAT's timers are of 1 s
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
        prepare=_all(lambda stage: stage.masquerade(), _track("middle")),
        approach=_fill("middle", 30),
        before=_fill("middle"),
        middle="nat",
        load=_PATIENT,
    ),
    Fault(
        "proxy out of ports",
        "an haproxy with 100 local ports toward its memcached, used up",
        ("proxy_ports_exhausted",),
        prepare=_setting("middle", "net.ipv4.ip_local_port_range", "20000 20099"),
        serve=_PROXIED,
        before=_earlier(100, "middle"),
        middle="proxy",
    ),
    Fault(
        "proxy out of ports, watched as server",
        "the same, and nobody says that it is a proxy",
        ("proxy_ports_exhausted",),
        prepare=_setting("middle", "net.ipv4.ip_local_port_range", "20000 20099"),
        serve=_PROXIED,
        before=_earlier(100, "middle"),
        middle="proxy",
        known_as="server",
        watched=("server",),
    ),
    Fault(
        "generator too slow",
        "200,000/s asked of one worker, ports in plenty",
        ("generator_saturated",),
        once="the generator has no history",
        # Replies pile up beside the arrivals: not the server's limit is what this is about.
        serve=_options("-c", "15000"),
        load=("--rate", "200000", "--duration", "0.8", "--close", "server", *_STRICT),
        alone=True,
    ),
    Fault(
        "ports exhausted and conntrack full on the server",
        "100 ports, 200 connections, and the server's table filled up to 30 entries",
        ("ephemeral_ports_exhausted", "conntrack_full_server"),
        prepare=_all(_ports(20000, 20099), _track("server")),
        approach=_fill("server", 30),
        before=_fill("server"),
        load=("--rate", "200", "--duration", "1", "--timeout", "1.5"),
    ),
    Fault(
        "firewall and accept queue, both on the server",
        "nft drops each third SYN, listen(4) and a server that accepts 50/s",
        ("accept_queue_overflow", "firewall_server"),
        serve=_SHORT_QUEUE,
        deed=_all(
            _TURN_BAD,
            _rule(
                "server",
                "input",
                f"{_FROM_CLIENT} tcp flags & (syn|ack) == syn numgen inc mod 3 == 0 counter drop",
            ),
        ),
    ),
)
CASES: tuple[Case, ...] = tuple(Case(fault, when) for fault in FAULTS for when in fault.whens)
BY_NAME = {case.name: case for case in CASES}
