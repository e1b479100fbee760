"""Metrics that the kernel keeps of a network namespace."""

from __future__ import annotations

from loadgen.metrics.record import Kind, Metric


def _proc(
    table: str, section: str, rows: dict[str, str], *, kind: Kind = "counter", since: str = "-"
) -> tuple[Metric, ...]:
    prefix = "sockstat" if table == "sockstat" else "netstat"
    return tuple(
        Metric(
            name=f"{prefix}_{section}_{field}",
            kind=kind,
            unit="1",
            source=f"/proc/net/{table}",
            since=since,
            meaning=meaning,
        )
        for field, meaning in rows.items()
    )


SOCKSTAT = (
    Metric(
        "sockstat_TCP_inuse",
        "gauge",
        "1",
        "/proc/net/sockstat",
        "-",
        "TCP sockets that are neither closed nor in TIME_WAIT",
    ),
    Metric(
        "sockstat_TCP_orphan",
        "gauge",
        "1",
        "/proc/net/sockstat",
        "-",
        "sockets that no process holds any more, still being closed (all namespaces)",
        scope="machine",
        limit="sockstat_TCP_orphan_limit",
        title="orphaned sockets, whole machine",
    ),
    Metric(
        "sockstat_TCP_orphan_limit",
        "gauge",
        "1",
        "/proc/sys/net/ipv4/tcp_max_orphans",
        "-",
        "orphans beyond which closing sockets are reset; readable on the host only",
        scope="machine",
    ),
    Metric(
        "sockstat_TCP_tw",
        "gauge",
        "1",
        "/proc/net/sockstat",
        "-",
        "sockets in TIME_WAIT",
        limit="sockstat_TCP_tw_limit",
        title="TIME_WAIT sockets",
    ),
    Metric(
        "sockstat_TCP_tw_limit",
        "gauge",
        "1",
        "/proc/sys/net/ipv4/tcp_max_tw_buckets",
        "-",
        "TIME_WAIT sockets beyond which a closed connection gets none (TCPTimeWaitOverflow)",
    ),
    Metric(
        "sockstat_TCP_alloc",
        "gauge",
        "1",
        "/proc/net/sockstat",
        "-",
        "TCP sockets allocated, in any state (all namespaces)",
        scope="machine",
    ),
    Metric(
        "sockstat_TCP_mem",
        "gauge",
        "pages",
        "/proc/net/sockstat",
        "-",
        "memory that TCP buffers hold (all namespaces)",
        scope="machine",
        limit="sockstat_TCP_mem_limit",
        title="TCP memory in pages, whole machine",
    ),
    Metric(
        "sockstat_TCP_mem_limit",
        "gauge",
        "pages",
        "/proc/sys/net/ipv4/tcp_mem",
        "-",
        "memory beyond which TCP refuses allocations: tcp_mem's third value; "
        "readable on the host only",
        scope="machine",
    ),
)

SNMP = (
    *_proc(
        "snmp",
        "Tcp",
        {
            "ActiveOpens": "connect() calls that sent a SYN",
            "PassiveOpens": "connections that a listener took on",
            "AttemptFails": "handshakes that failed",
            "EstabResets": "established connections that were reset",
            "InSegs": "segments received",
            "OutSegs": "segments sent, without retransmissions",
            "RetransSegs": "segments sent again",
            "InErrs": "segments received in error, wrong checksums among them",
            "OutRsts": "segments with RST sent",
        },
    ),
    *_proc("snmp", "Tcp", {"CurrEstab": "connections in ESTABLISHED or CLOSE_WAIT"}, kind="gauge"),
    *_proc(
        "snmp",
        "Ip",
        {
            "InReceives": "IP packets received, before any firewall saw them",
            "InDelivers": "IP packets handed to TCP, UDP or ICMP; what is missing from InReceives "
            "was forwarded, or dropped by a firewall, conntrack or rp_filter",
            "ForwDatagrams": "IP packets forwarded to another host or namespace",
            "OutRequests": "IP packets made here, before any firewall saw them",
            "InDiscards": "IP packets received in order but dropped for want of memory and the like",
            "OutDiscards": "IP packets dropped on the way out for want of memory and the like",
            "OutNoRoutes": "IP packets dropped because no route led to their destination",
            "InHdrErrors": "IP packets dropped for a fault in their header, or at the end of their "
            "time to live",
            "InAddrErrors": "IP packets dropped because their destination could not be theirs",
        },
    ),
    *_proc(
        "snmp",
        "Ip",
        {
            "OutTransmits": "IP packets handed to a device; what is missing from OutRequests and "
            "ForwDatagrams was dropped by a firewall or conntrack on the way out",
        },
        since="6.7",
    ),
    *_proc(
        "snmp",
        "Icmp",
        {
            "InDestUnreachs": "ICMP 'destination unreachable' received",
            "OutDestUnreachs": "ICMP 'destination unreachable' sent, to local sockets too",
        },
    ),
)

NETSTAT = (
    *_proc(
        "netstat",
        "TcpExt",
        {
            "TW": "sockets that entered TIME_WAIT; old kernels count them when they leave it",
            "TWRecycled": "TIME_WAIT sockets whose port a connect() took over (tcp_tw_reuse)",
            "TWKilled": "TIME_WAIT sockets killed early by the old recycle timer; "
            "0 on current kernels",
            "TCPTimeWaitOverflow": "TIME_WAIT sockets not made: tcp_max_tw_buckets was reached",
            "PAWSActive": "connections refused because of an old timestamp, on the active side",
            "PAWSEstab": "segments dropped because of an old timestamp, on established connections",
            "ListenOverflows": "handshakes dropped because the accept queue was full",
            "ListenDrops": "SYNs and handshakes that a listener dropped, for any reason",
            "SyncookiesSent": "SYN cookies sent because the SYN queue was full",
            "SyncookiesRecv": "handshakes completed with a valid SYN cookie",
            "SyncookiesFailed": "ACKs to a listener that carried no valid SYN cookie",
            "EmbryonicRsts": "RSTs received for connections still in SYN_RECV",
            "TCPReqQFullDoCookies": "times the SYN queue was full and cookies were sent",
            "TCPReqQFullDrop": "SYNs dropped because the SYN queue was full and cookies are off",
            "TCPSynRetrans": "SYNs and SYN/ACKs sent again",
            "TCPTimeouts": "retransmission timers that fired",
            "TCPRetransFail": "retransmissions that the local host itself dropped",
            "TCPAbortOnMemory": "connections aborted because TCP was out of memory, or had too "
            "many orphans",
            "TCPAbortOnTimeout": "connections aborted after too many retransmissions",
            "TCPAbortOnData": "connections reset because they were closed with data unread, or "
            "with SO_LINGER 0",
            "TCPMemoryPressures": "times TCP ran into memory pressure (tcp_mem's second value)",
            "TCPBacklogDrop": "segments dropped because a socket's backlog was full",
            "IPReversePathFilter": "packets dropped by rp_filter: not the way back to the sender",
        },
    ),
    *_proc(
        "netstat",
        "TcpExt",
        {
            "TCPACKSkippedSynRecv": "ACKs not sent to a peer in SYN_RECV because of the rate limit",
            "TCPACKSkippedTimeWait": "ACKs that a TIME_WAIT socket did not send because of the "
            "rate limit",
        },
        since="4.0",
    ),
    *_proc(
        "netstat",
        "TcpExt",
        {"PAWSTimewait": "SYNs refused by a TIME_WAIT socket because of an old timestamp"},
        since="6.16",
    ),
    *_proc(
        "netstat",
        "IpExt",
        {"InNoRoutes": "IP packets that came in and that no route leads on from here"},
    ),
)

_CONNTRACK_STAT = "/proc/net/stat/nf_conntrack"
_CONNTRACK_ROWS: tuple[tuple[str, str, str], ...] = (
    ("found", "-", "packets that found their entry on the slow look-up path"),
    ("invalid", "-", "packets that fit no connection"),
    (
        "insert",
        "-",
        "entries added through ctnetlink; packets' own insertions are not counted here",
    ),
    ("insert_failed", "-", "entries that could not be added because another packet was faster"),
    ("drop", "-", "packets dropped because the table was full or an entry could not be added"),
    ("early_drop", "-", "unanswered entries evicted to make room in a full table"),
    ("error", "-", "packets that a protocol tracker refused (column icmp_error)"),
    ("search_restart", "-", "look-ups begun again because the table changed meanwhile"),
    ("clash_resolve", "5.10", "insertion races settled without a drop (column clashres)"),
    (
        "chaintoolong",
        "5.15",
        "packets dropped because their hash chain was too long (column chainlength)",
    ),
)

CONNTRACK = (
    Metric(
        "nf_conntrack_entries",
        "gauge",
        "1",
        "/proc/sys/net/netfilter/nf_conntrack_count",
        "-",
        "connections in this namespace's conntrack table",
        limit="nf_conntrack_entries_limit",
        title="conntrack entries",
    ),
    Metric(
        "nf_conntrack_entries_limit",
        "gauge",
        "1",
        "/proc/sys/net/netfilter/nf_conntrack_max",
        "-",
        "entries at which new connections are dropped; one value for all namespaces, "
        "compared with each namespace's own count",
    ),
    Metric(
        "nf_conntrack_buckets",
        "gauge",
        "1",
        "/proc/sys/net/netfilter/nf_conntrack_buckets",
        "-",
        "hash chains of the one table that all namespaces share",
        scope="machine",
    ),
    *(
        Metric(f"nf_conntrack_stat_{field}", "counter", "1", _CONNTRACK_STAT, since, meaning)
        for field, since, meaning in _CONNTRACK_ROWS
    ),
)

PORTS = (
    Metric(
        "ephemeral_ports_in_use",
        "gauge",
        "1",
        "NETLINK_SOCK_DIAG",
        "-",
        "local ports in use, TIME_WAIT included, by the (source, destination, destination port) "
        "that has the most of them",
        limit="ephemeral_ports_limit",
        title="local ports in use",
    ),
    Metric(
        "ephemeral_ports_limit",
        "gauge",
        "1",
        "/proc/sys/net/ipv4/ip_local_port_range",
        "-",
        "ports that connect() may choose from, ip_local_reserved_ports taken off, for each "
        "(source, destination, destination port)",
    ),
)

NAT = (
    Metric(
        "nat_ports_in_use",
        "gauge",
        "1",
        "/proc/net/nf_conntrack",
        "-",
        "ports that source NAT holds toward one destination, the one that has the most of them; "
        "entries that have ended and are not forgotten yet included",
        limit="nat_ports_limit",
        title="ports in use on the NAT",
    ),
    Metric(
        "nat_ports_limit",
        "gauge",
        "1",
        "nft -j list ruleset",
        "-",
        "ports that the source NAT's rule chooses from, for each destination",
    ),
)

ROUTES = tuple(
    Metric(
        f"routes_{kind}",
        "gauge",
        "1",
        "NETLINK_ROUTE",
        "-",
        f"ends of the path (servers and clients, 16 at most) to which {what}",
    )
    for kind, what in (
        ("missing", "no route leads from here"),
        ("blackhole", "a blackhole route leads: packets vanish, uncounted"),
        ("prohibit", "a prohibit route leads: packets are refused, uncounted"),
        ("unreachable", "an unreachable route leads: packets are refused, uncounted"),
    )
)

LISTENER = (
    Metric(
        "listen_queue",
        "gauge",
        "1",
        "NETLINK_SOCK_DIAG",
        "-",
        "connections waiting for accept() at the target's listener, the fullest if several",
        limit="listen_queue_limit",
        title="connections in the accept queue",
    ),
    Metric(
        "listen_queue_limit",
        "gauge",
        "1",
        "NETLINK_SOCK_DIAG",
        "-",
        "that listener's backlog: the least of listen()'s argument and net.core.somaxconn; "
        "overflow begins one above it",
    ),
)

DEVICES = tuple(
    Metric(f"network_{field}", "counter", "1", "/proc/net/dev", "-", meaning)
    for field, meaning in (
        ("receive_drop_total", "packets that the namespace's devices, lo apart, did not take in"),
        ("transmit_drop_total", "packets that the namespace's devices, lo apart, did not send"),
    )
)
