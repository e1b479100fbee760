"""What a server does, or cannot do any more."""

from __future__ import annotations

import signal

from tests.faults import deeds
from tests.faults.fault import QUICK, STRICT, Fault

_FROM_ITS_START = "a server speaks its protocol from its start"

FAULTS: tuple[Fault, ...] = (
    Fault(
        "accept queue full",
        "listen(4) and a server that accepts 50/s",
        ("accept_queue_overflow",),
        serve=deeds.SHORT_QUEUE,
        deed=deeds.TURN_BAD,
    ),
    Fault(
        "accept queue full, RST",
        "listen(4) and a server that accepts 20/s, tcp_abort_on_overflow=1",
        ("accept_queue_overflow",),
        also=("syn_cookies_sent",),  # listen(4) bounds the queue of SYNs too
        prepare=deeds.setting("server", "net.ipv4.tcp_abort_on_overflow", "1"),
        serve=deeds.misbehaving("dawdles", "4", "0.05"),
        deed=deeds.TURN_BAD,
        load=("--rate", "100", "--duration", "1", "--timeout", "2"),
    ),
    Fault(
        "accept queue full, only the client watched",
        "listen(4) and a server that accepts 20/s, and nobody sees the server's counters",
        ("lost_beyond_client", "server_slow"),
        serve=deeds.misbehaving("dawdles", "4", "0.05"),
        deed=deeds.TURN_BAD,
        watched=(),
        load=("--rate", "100", "--duration", "1", "--timeout", "1.5"),
    ),
    Fault(
        "SYN queue full, no cookies",
        "listen(64), 200 half-open connections, tcp_syncookies=0",
        ("syn_queue_full",),
        prepare=deeds.setting("server", "net.ipv4.tcp_syncookies", "0"),
        serve=deeds.options("-b", "64"),
        deed=deeds.half_open,
        before=deeds.keep_flooding,
    ),
    Fault(
        "SYN queue full, cookies",
        "listen(64), 200 half-open connections, tcp_syncookies=1",
        ("syn_cookies_sent",),
        serve=deeds.options("-b", "64"),
        deed=deeds.half_open,
        before=deeds.keep_flooding,
        fails=False,
    ),
    Fault(
        "server refuses",
        "no server",
        ("server_refuses",),
        serve=deeds.nothing,
        once="during the run it is a server killed",
    ),
    Fault(
        "server killed",
        "SIGKILL",
        ("server_gone",),
        deed=deeds.signalled(signal.SIGKILL),
        once="before the run it is a server that refuses",
    ),
    Fault(
        "connection limit",
        "memcached -c 40, 40 connections held",
        ("server_connection_limit",),
        serve=deeds.options("-c", "40"),
        deed=deeds.hold(40),
    ),
    Fault(
        "connection limit, slow mode",
        "memcached -c 40 -o no_maxconns_fast, 40 connections held",
        ("server_connection_limit",),
        serve=deeds.options("-c", "40", "-o", "no_maxconns_fast"),
        deed=deeds.hold(40),
        once="a memcached that was full before the run never tells its -c, and bounds its files by it",
    ),
    Fault(
        "server out of descriptors",
        "memcached -c 1024, its open files limited to those it has and 10 more, 20 connections held",
        ("server_out_of_file_descriptors",),
        serve=deeds.options("-c", "1024"),
        deed=deeds.all_of(
            lambda stage: stage.limit_server(stage.open_files() + 10), deeds.hold(20)
        ),
    ),
    Fault(
        "server stopped",
        "SIGSTOP",
        ("server_silent",),
        deed=deeds.signalled(signal.SIGSTOP),
    ),
    Fault(
        "server stopped, short queue",
        "SIGSTOP, memcached -b 16: the accept queue overflows too",
        ("server_silent",),
        serve=deeds.options("-b", "16"),
        deed=deeds.signalled(signal.SIGSTOP),
    ),
    Fault(
        "server slow",
        "a server that answers 50/s, asked 300/s",
        ("server_slow",),
        serve=deeds.misbehaving("dawdles", "1024", "0.02"),
        deed=deeds.TURN_BAD,
    ),
    Fault(
        "in flight because of a slow server",
        "a server that answers 100/s, --max-in-flight 20",
        ("server_slow",),
        serve=deeds.misbehaving("dawdles", "1024", "0.01"),
        deed=deeds.TURN_BAD,
        load=(*QUICK, "--max-in-flight", "20", *STRICT),
    ),
    Fault(
        "server resets",
        "a server that closes with RST",
        ("server_resets",),
        serve=deeds.misbehaving("resets"),
        deed=deeds.TURN_BAD,
    ),
    Fault(
        "server closes early",
        "a server that closes in the middle of its reply",
        ("server_closes_early",),
        serve=deeds.misbehaving("truncates"),
        deed=deeds.TURN_BAD,
    ),
    Fault(
        "malformed reply",
        "a server that answers what no protocol known here does",
        ("malformed_reply",),
        serve=deeds.misbehaving("babbles"),
        deed=deeds.TURN_BAD,
    ),
    Fault(
        "server error",
        "a server that answers SERVER_ERROR",
        ("server_error",),
        serve=deeds.misbehaving("errs"),
        deed=deeds.TURN_BAD,
    ),
    Fault(
        "binary protocol",
        "memcached -B binary",
        ("wrong_protocol",),
        serve=deeds.options("-B", "binary"),
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
        serve=deeds.misbehaving("serves_http"),
        deed=deeds.TURN_BAD,
    ),
)
