"""The catalogue of causes: what can end or prevent a connection, whose fault it is, what helps. Pure.

Rules decide which of these it was and bring the evidence; the words are here, once, for rules, reports,
documentation and tests. A text may have slots, `{word}`, for what only the run knows; a slot that
nobody fills is empty, so the text must read well without it.

To add a cause: an entry here, a rule in `loadgen.diagnosis` that names it, and a fault in
tests/faults/catalogue/ (or, where no test machine can be brought to it, a case in
tests/loadgen/diagnosis/test_rules.py) that provokes it; then write docs/diagnosis.md anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from loadgen.diagnosis.kinds import HOPS, CauseKind, Family
from loadgen.outcome import Outcome

# --- the client's ports -------------------------------------------------------------------------

PORTS_EXHAUSTED: Final = CauseKind(
    "ephemeral_ports_exhausted",
    "client_host",
    "the client ran out of local ports toward the server",
    "net.ipv4.tcp_tw_reuse = 1 lets connect() take over ports in TIME_WAIT after 1 s (needs TCP "
    "timestamps on both sides); a wider net.ipv4.ip_local_port_range moves the wall and costs "
    "conntrack entries and ports that daemons may want; more source or server addresses multiply "
    "it; keeping connections open removes it",
)
PORT_SEARCH_SLOW: Final = CauseKind(
    "port_search_slow",
    "client_host",
    "the kernel's search for a free local port became slow{so_what}",
    "net.ipv4.tcp_tw_reuse = 1 or a wider net.ipv4.ip_local_port_range keeps half of the range "
    "free; where the program can be changed, the socket option IP_LOCAL_PORT_RANGE (Linux 6.3, "
    "step 1 since 6.8) searches without the detour; keeping connections open removes the cause",
)
BIND_EARLY: Final = CauseKind(
    "bind_without_no_port",
    "client_host",
    "binding to a source address took a port for every destination at once",
    "set the socket option IP_BIND_ADDRESS_NO_PORT (Linux 4.2) before bind(address, 0), so that "
    "connect() chooses the port; tcp_tw_reuse does not help before that",
)
TIME_WAIT_OVERFLOW: Final = CauseKind(
    "time_wait_overflow",
    "client_host",
    "tcp_max_tw_buckets overflowed{where}: TIME_WAIT was skipped, and successes that follow from it "
    "are false",
    "raise net.ipv4.tcp_max_tw_buckets to its default again (a TIME_WAIT socket costs about 250 "
    "bytes) and judge the run by what happens then",
)
"""The fault is that of the host where it happens; what follows from it is the same."""

# --- packets dropped on the way -----------------------------------------------------------------

CONNTRACK_FULL: Final = Family(
    "conntrack_full",
    "the connection tracking table {where} was full",
    "{where}: raise net.netfilter.nf_conntrack_max, at 256 to 384 bytes an entry, and hashsize with "
    "it; or lower net.netfilter.nf_conntrack_tcp_timeout_time_wait (120 s), which forgets closed "
    "connections sooner; or exempt this traffic (notrack), which also takes it out of NAT and "
    "stateful rules",
)
CONNTRACK_DROPS: Final = Family(
    "conntrack_drops",
    "connection tracking {where} dropped packets though its table was not full",
    "{where}: conntrack -S shows what it could not add; a rule that exempts this traffic (notrack) "
    "takes it out of NAT and stateful rules",
)
FIREWALL: Final = Family(
    "firewall",
    "a firewall {where} drops or rejects these packets",
    "{where}: look for the rule (nft list ruleset, iptables-save -c) and let them pass",
)
REVERSE_PATH_FILTER: Final = Family(
    "reverse_path_filter",
    "rp_filter {where} takes these packets for forged",
    "{where}: mend the routes so that the way back is the way they came, or set "
    "net.ipv4.conf.*.rp_filter = 2, which checks less",
)
SOFTNET_BACKLOG_FULL: Final = CauseKind(
    "softnet_backlog_full",
    "client_host",
    "packets came faster than this machine's CPUs took them in",
    "raise net.core.netdev_max_backlog, which costs memory and latency under load, or spread packets "
    "over more CPUs (RPS)",
)
PACKET_LOSS: Final = CauseKind(
    "packet_loss",
    "network",
    "packets were lost between the two hosts, and neither counts them as its own drop",
    "look at the devices in between: ip -s link and ethtool -S on both ends, switch ports, firewalls "
    "and routers on the way (their namespaces can be watched with --netns router=, nat=, proxy= or host=)",
)

NAT_PORTS_EXHAUSTED: Final = CauseKind(
    "nat_ports_exhausted",
    "network",
    "the NAT has no port left toward the server",
    "on the NAT: a wider port range in the rule, or more addresses to translate to; shorter conntrack "
    "timers (net.netfilter.nf_conntrack_tcp_timeout_time_wait, 120 s, and _close_wait, _fin_wait) let "
    "go of ports sooner; more server addresses or ports multiply them; keeping connections open, or "
    "fewer of them, needs fewer. A client's own settings do not help",
)
TIME_WAIT_ANSWERS: Final = CauseKind(
    "time_wait_answers_syn",
    "server_host",
    "SYNs met a socket in TIME_WAIT on the server, which took them for old segments",
    "a port was used again, by another client behind the same NAT or after a change of clock, while the "
    "server still held the old connection: let the client close first, or keep the NAT's conntrack "
    "entries as long as TIME_WAIT lasts (net.netfilter.nf_conntrack_tcp_timeout_time_wait of 60 s and "
    "more), or give it more ports and addresses",
)
PROXY_PORTS_EXHAUSTED: Final = CauseKind(
    "proxy_ports_exhausted",
    "server_host",
    "the proxy ran out of local ports toward its backends",
    "the proxy is a client of its backends: there net.ipv4.tcp_tw_reuse = 1 or a wider "
    "net.ipv4.ip_local_port_range helps, as do more backend or source addresses; best is to let it "
    "keep its connections to the backends open (pools, http-reuse). The client's settings do not help",
)
PROXY_DESCRIPTORS: Final = CauseKind(
    "proxy_out_of_file_descriptors",
    "server_host",
    "the proxy has no file descriptor left: it takes two for a connection, and takes no more of them",
    "raise its limit of open files (LimitNOFILE= in its unit, ulimit -n where it is started) to twice "
    "its connections and some more, or let it close idle ones sooner. The client's settings do not help",
)
PROXY_TAKES_NO_MORE: Final = CauseKind(
    "proxy_takes_no_more",
    "server_host",
    "the proxy left connections in its kernel's queue: it is at a limit of its own, too slow, or stopped",
    "raise its limit of connections (HAProxy: maxconn, in `global` and in the frontend), or find out "
    "who keeps connections open through it (timeout client); else look at its CPU time and state "
    "(ps -o stat,wchan,time). The client's settings do not help",
)

# --- no way there, or back ----------------------------------------------------------------------

UNREACHABLE: Final = CauseKind(
    "unreachable",
    "network",
    "the server, or the next hop on the way to it, cannot be reached",
    "check that the server's host is up and linked, and the way to it: ip neigh, ip route get SERVER, "
    "ping",
)
NO_ROUTE: Final = CauseKind(
    "no_route",
    "client_host",
    "the client's host has no route to the server",
    "add the route; `ip route get SERVER` shows which one is missing",
)
NO_ROUTE_BETWEEN: Final = CauseKind(
    "no_route_between",
    "network",
    "a box between client and server has no route for these packets",
    "on that box, `ip route get SERVER` and `ip route get CLIENT` show the route to add or mend; "
    "`ip route show type blackhole` (prohibit, unreachable) lists routes that lead nowhere",
)
NO_WAY_BACK: Final = CauseKind(
    "no_way_back",
    "server_host",
    "the server's host has no route back to the client",
    "on the server, `ip route get CLIENT from SERVER` shows the route or rule to mend",
)

# --- the server's listener ----------------------------------------------------------------------

ACCEPT_QUEUE_OVERFLOW: Final = CauseKind(
    "accept_queue_overflow",
    "server_host",
    "the server did not accept() connections as fast as they came: its queue was full",
    "a longer queue takes both the listen() backlog (memcached -b) and net.core.somaxconn{now}, and "
    "only bridges bursts; a server that is too slow on average needs more threads (memcached -t) or "
    "CPU",
)
SYN_QUEUE_FULL: Final = CauseKind(
    "syn_queue_full",
    "server_host",
    "the server's queue of half-open connections was full, and SYN cookies are off",
    "net.ipv4.tcp_syncookies = 1 on the server answers without a queue, at the price of some TCP "
    "options in that case; a longer queue takes a larger listen() backlog (memcached -b), "
    "net.core.somaxconn and net.ipv4.tcp_max_syn_backlog",
)
SYN_COOKIES_SENT: Final = CauseKind(
    "syn_cookies_sent",
    "server_host",
    "the server's queue of half-open connections was full; SYN cookies stood in",
    "a longer queue takes a larger listen() backlog (memcached -b), net.core.somaxconn and "
    "net.ipv4.tcp_max_syn_backlog; cookies cost CPU, and window scaling or SACK where the client "
    "sends no timestamps; many half-open connections and few completed ones are an attack",
)
LISTENER_DROPS: Final = CauseKind(
    "listener_drops",
    "server_host",
    "the server's kernel dropped handshakes at the listener, its queues not being full",
    "look for memory pressure (tcp_mem) and security modules on the server",
)

# --- the server ---------------------------------------------------------------------------------

_LOOK_AT_THE_SERVER = (
    "look into the server's log: it crashed, was restarted or refuses its clients{unseen}"
)
UNSEEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unseen": "; a firewall or a proxy that answers in its stead looks the same from here: "
        "--netns server=PID (router=, proxy=) tells, where it runs on this machine, or there "
        "`nstat -az TcpOutRsts` before and after and `nft list ruleset`"
    }
)
"""For answers that end a connection, where nobody but the client was watched."""
SERVER_CONNECTION_LIMIT: Final = CauseKind(
    "server_connection_limit",
    "server",
    "the server is at its connection limit",
    "raise it (memcached -c, Redis maxclients, nginx worker_connections), which costs file "
    "descriptors (LimitNOFILE=) and some kilobytes of memory for each connection; or let clients "
    "keep fewer connections open",
)
SERVER_DESCRIPTORS: Final = CauseKind(
    "server_out_of_file_descriptors",
    "server_host",
    "the server has no file descriptor left, and stopped accepting connections",
    "raise its limit of open files (LimitNOFILE= in its unit, ulimit -n where it is started); its "
    "connection limit (memcached -c) is not what it ran into",
)
SERVER_SILENT: Final = CauseKind(
    "server_silent",
    "server",
    "the server answers nobody: its kernel takes connections in, its program does nothing",
    "look at the server's process: stopped, deadlocked or swapped out (ps -o stat,wchan, its log); "
    "restart it",
)
SERVER_SLOW: Final = CauseKind(
    "server_slow",
    "server",
    "the server answers, but too slowly for this rate",
    "give the server more threads (memcached -t) or CPU, or spread the load over more servers; a "
    "longer --timeout only hides it",
)
WRONG_PROTOCOL: Final = CauseKind(
    "wrong_protocol",
    "server",
    "the server does not speak memcached's text protocol{protocol}",
    "{help}",
)
AUTHENTICATION_WANTED: Final = CauseKind(
    "authentication_wanted",
    "server",
    "the server wants a password before it answers",
    "memcached runs with -Y: give user and password in the URL (memcached://USER:PASSWORD@HOST); with "
    "-S it wants SASL over the binary protocol: load an instance without it",
)
SERVER_REFUSES: Final = CauseKind(
    "server_refuses",
    "server",
    "nothing listens on the server's port",
    "start the server, or check the port and the address it listens on (ss -ltn){unseen}",
)
SERVER_GONE: Final = CauseKind(
    "server_gone",
    "server",
    "the server ended during the run: connections were cut off, then nothing listened",
    "find out why it ended (its log, the journal, dmesg for the OOM killer) and have it restarted "
    "(Restart= in its unit)",
)

# --- what an outcome says by itself -------------------------------------------------------------

PLAIN: Final[Mapping[Outcome, CauseKind]] = MappingProxyType(
    {
        Outcome.FD_EXHAUSTED: CauseKind(
            "client_out_of_file_descriptors",
            "client_host",
            "the client had no file descriptor left",
            "raise the limit of open files (ulimit -n, LimitNOFILE=) or lower --max-in-flight; each "
            "open connection takes one descriptor",
        ),
        Outcome.NO_MEMORY: CauseKind(
            "client_out_of_memory",
            "client_host",
            "the client's kernel had no memory for another socket",
            "look at net.ipv4.tcp_mem and the memory limit of the client's control group",
        ),
        Outcome.DENIED: CauseKind(
            "denied_on_client",
            "client_host",
            "a rule on the client's host forbids the connection",
            "look for an nft or iptables rule, a `prohibit` route, a security module or a control "
            "group's BPF program",
        ),
        Outcome.BAD_SOURCE: CauseKind(
            "source_address_missing",
            "client_host",
            "the source address does not belong to the client's host",
            "add the address (ip addr add), or omit it from --source-ip",
        ),
        Outcome.MALFORMED_REPLY: CauseKind(
            "malformed_reply",
            "server",
            "the server's reply is not in the protocol that it was asked in",
            "check what the target speaks: HOST:PORT is taken for a memcached with the text protocol, "
            "other protocols are URLs (redis://, http://, tcp://)",
        ),
        Outcome.TLS_CERTIFICATE_EXPIRED: CauseKind(
            "tls_certificate_expired",
            "server",
            "the server's certificate has expired, or is not valid yet",
            "renew it, and have the server read it anew; if its dates are good (openssl x509 -dates), "
            "the client's clock is not",
        ),
        Outcome.TLS_WRONG_NAME: CauseKind(
            "tls_wrong_name",
            "server",
            "the server's certificate is for another name than the target's",
            "name the one that it is for (--tls-name, openssl x509 -ext subjectAltName), or give the "
            "server a certificate with this name",
        ),
        Outcome.TLS_UNKNOWN_CA: CauseKind(
            "tls_unknown_ca",
            "client_host",
            "nobody whom the client trusts has signed the server's certificate",
            "give the certificate of its CA (--tls-ca); if a CA in between is missing, the server has "
            "to send the whole chain",
        ),
        Outcome.TLS_REFUSED: CauseKind(
            "tls_refused",
            "server",
            "the server ended TLS with an alert",
            "the alert is among the run's errors: a version or cipher that it does not have, a "
            "certificate of the client's that it wants, or a name (SNI) that it does not know",
        ),
        Outcome.TLS_FAILED: CauseKind(
            "tls_failed",
            "server",
            "TLS failed",
            "OpenSSL's reason is among the run's errors; openssl s_client -connect shows more",
        ),
        Outcome.TLS_TIMEOUT: CauseKind(
            "tls_timeout",
            "server",
            "the server did not finish TLS handshakes in time",
            "handshakes are CPU: give the server more of it, or threads, let clients resume sessions "
            "(--tls-resume) or keep connections open; or the target does not speak TLS and waits",
        ),
        Outcome.NOT_TLS: CauseKind(
            "not_tls",
            "server",
            "the server does not speak TLS on this port",
            "leave --tls out, or take the scheme without it; or find the port where TLS is spoken",
        ),
        Outcome.REQUEST_REFUSED: CauseKind(
            "request_refused",
            "server",
            "the server refused the requests",
            "look at the path, the Host (--http-host) and the server's log: the connections "
            "themselves were good",
        ),
        Outcome.NOT_AUTHENTICATED: CauseKind(
            "not_authenticated",
            "server",
            "the server did not accept user and password, or wanted some",
            "give them in the URL (redis://USER:PASSWORD@HOST) or by --password-file",
        ),
        Outcome.SERVER_LOADING: CauseKind(
            "server_loading",
            "server",
            "the server was still loading its data",
            "begin when it has (Redis: INFO persistence, loading:0); loading takes the longer, the "
            "larger its dump is",
        ),
        Outcome.SERVER_ERROR: CauseKind(
            "server_error",
            "server",
            "the server answered with an error",
            "look into the server's log; SERVER_ERROR out of memory takes a larger memcached -m, an "
            "HTTP 502 to 504 comes from what stands behind a proxy",
        ),
        Outcome.RESET: CauseKind(
            "server_resets",
            "server",
            "the server reset established connections",
            _LOOK_AT_THE_SERVER,
        ),
        Outcome.TRUNCATED_REPLY: CauseKind(
            "server_closes_early",
            "server",
            "the server closed connections before its reply was complete",
            _LOOK_AT_THE_SERVER,
        ),
    }
)
"""By outcome, the causes that need no counter to be understood."""

# --- the generator, and the rest ----------------------------------------------------------------

IN_FLIGHT_LIMIT: Final = CauseKind(
    "in_flight_limit",
    "generator",
    "the generator may not have as many attempts under way as this rate needs",
    "raise --max-in-flight, and the limit of open files with it: it takes the rate times the time of "
    "an attempt{life}",
)
GENERATOR_SATURATED: Final = CauseKind(
    "generator_saturated",
    "generator",
    "the generator could not keep up with the schedule",
    "lower --rate, give it more --workers, or keep other work off its cores",
)
BEYOND_CLIENT: Final = CauseKind(
    "lost_beyond_client",
    "network",
    "this host did all it could{what}",
    "what it was cannot be told from here; where these hosts run on this machine, --netns server=PID "
    "(router=, nat=, proxy=) tells; else, on the server: `nstat -az TcpExtListenOverflows "
    "TcpExtListenDrops TcpExtTCPReqQFullDrop TcpExtPAWSTimewait IpOutNoRoutes` and `nft list ruleset`; "
    "there and on every box between: `conntrack -S`, `conntrack -C` and `ip route get` for both ends",
)
UNEXPLAINED: Final = CauseKind(
    "unexplained",
    "network",
    "no counter explains these{ruled_out}",
    "sample the server's namespace too (--netns), and look at the evidence below",
)

CATALOGUE: Final[Mapping[str, CauseKind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            PORTS_EXHAUSTED,
            PORT_SEARCH_SLOW,
            BIND_EARLY,
            TIME_WAIT_OVERFLOW,
            *(
                family.at(role)
                for family in (CONNTRACK_FULL, CONNTRACK_DROPS, FIREWALL, REVERSE_PATH_FILTER)
                for role in HOPS
            ),
            NAT_PORTS_EXHAUSTED,
            TIME_WAIT_ANSWERS,
            PROXY_PORTS_EXHAUSTED,
            PROXY_DESCRIPTORS,
            PROXY_TAKES_NO_MORE,
            SOFTNET_BACKLOG_FULL,
            PACKET_LOSS,
            UNREACHABLE,
            NO_ROUTE,
            NO_ROUTE_BETWEEN,
            NO_WAY_BACK,
            ACCEPT_QUEUE_OVERFLOW,
            SYN_QUEUE_FULL,
            SYN_COOKIES_SENT,
            LISTENER_DROPS,
            SERVER_CONNECTION_LIMIT,
            SERVER_DESCRIPTORS,
            SERVER_SILENT,
            SERVER_SLOW,
            SERVER_REFUSES,
            SERVER_GONE,
            WRONG_PROTOCOL,
            AUTHENTICATION_WANTED,
            *PLAIN.values(),
            IN_FLIGHT_LIMIT,
            GENERATOR_SATURATED,
            BEYOND_CLIENT,
            UNEXPLAINED,
        )
    }
)
"""By name, in the order in which docs/diagnosis.md lists them."""
