"""The sysctls that decide how many short connections a host can open.

Each fact has one home, and this is it: what a key does, in which unit, which values the kernel
takes, whether a network namespace has its own copy, and what raising or lowering it costs.
Sources: Documentation/networking/ip-sysctl.rst and nf_conntrack-sysctl.rst, the handlers in
net/ipv4/sysctl_net_ipv4.c and net/netfilter/nf_conntrack_standalone.c; ranges were probed in fresh
namespaces of 6.18. A version with `~` is inferred from the date of the commit. Ranges explain a
refusal, they never cause one: the kernel at hand decides what it accepts.

Why the scope of a key matters here. A sysctl that is not per namespace is either invisible or
read-only in a namespace other than the first. Linux 5.7 to 5.12.1 had it wrong: nf_conntrack_max
and nf_conntrack_expect_max were writable in every namespace and changed the host (CVE-2021-38209,
mended by 2671fa4dc010). So a key of scope `host` is never written, whatever its file mode says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Scope = Literal["namespace", "host"]
Kind = Literal["integer", "integers", "ports", "text"]


@dataclass(frozen=True, slots=True)
class Sysctl:
    """One catalogued key."""

    key: str
    """Dotted, as sysctl(8) prints it."""
    does: str
    price: str
    """What a change costs or breaks; empty when nothing is known."""
    unit: str = ""
    low: int | None = None
    """Least value the kernel takes; None where it does not check."""
    high: int | None = None
    """Greatest value the kernel takes; None where it does not check."""
    scope: Scope = "namespace"
    kind: Kind = "integer"
    since: str = ""
    """Kernel that brought the key; empty for before 2.6.32."""
    per_namespace: str = ""
    """Kernel since which every namespace has its own; empty when it always had, or has none."""
    default: str = ""
    """What current kernels give a fresh namespace, where that is a constant."""
    default_note: str = ""
    """Other defaults of other kernels, or what the default is computed from."""
    better: Literal["higher", "lower", "neither"] = "neither"
    """Which direction can only add headroom for short connections."""
    inherited: bool = False
    """True: a fresh namespace copies the value of the first one; others start from a constant."""
    bears: bool = True
    """False: no effect on whether a short connection succeeds; the lab may leave it out."""

    @property
    def permitted(self) -> str:
        """The permitted values in words, or an empty string where the kernel checks nothing."""
        each = "each value " if self.kind == "integers" else ""
        if self.low is not None and self.high is not None:
            return f"{each}{self.low} to {self.high}"
        if self.low is not None:
            return f"{each}{self.low} or more"
        if self.high is not None:
            return f"{each}{self.high} or less"
        return ""


_INT_MAX: Final = 2**31 - 1

_ENTRIES: Final = (
    # Local ports and TIME_WAIT: the client's side.
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
    # Listening: the server's side.
    Sysctl(
        "net.core.somaxconn",
        does="upper limit of listen()'s backlog, the accept queue",
        price="a long queue is latency; the daemon must ask for it too (memcached -b)",
        unit="connections",
        low=0,
        high=_INT_MAX,
        per_namespace="~2.6.25",
        default="4096",
        default_note="128 before 5.4",
        better="higher",
    ),
    Sysctl(
        "net.ipv4.tcp_max_syn_backlog",
        does="half-open connections a listener keeps, without SYN cookies",
        price="no effect while tcp_syncookies is 1",
        unit="connections",
        per_namespace="~4.11",
        default_note="the established hash divided by 128, at least 128",
        better="higher",
    ),
    Sysctl(
        "net.ipv4.tcp_syncookies",
        does="answers with a cookie when the SYN queue is full: 0 never, 1 then, 2 always",
        price="off, a full SYN queue drops connections",
        low=0,
        high=255,
        per_namespace="~4.6",
        default="1",
    ),
    Sysctl(
        "net.ipv4.tcp_synack_retries",
        does="how often a listener repeats its SYN-ACK",
        price="",
        low=0,
        high=255,
        default="5",
    ),
    Sysctl(
        "net.ipv4.tcp_abort_on_overflow",
        does="1 resets a connection that finds the accept queue full, 0 lets the client retry",
        price="a burst that a retry would have survived becomes an error",
        low=0,
        high=255,
        default="0",
    ),
    # Memory and speed of a connection.
    Sysctl(
        "net.ipv4.tcp_rmem",
        does="receive buffer of a TCP socket: least, default, most",
        price="",
        inherited=True,
        unit="bytes",
        low=1,
        kind="integers",
        per_namespace="4.15",
        bears=False,
    ),
    Sysctl(
        "net.ipv4.tcp_wmem",
        does="send buffer of a TCP socket: least, default, most",
        price="",
        inherited=True,
        unit="bytes",
        low=1,
        kind="integers",
        per_namespace="4.15",
        bears=False,
    ),
    Sysctl(
        "net.ipv4.tcp_congestion_control",
        does="congestion control of new connections",
        price="",
        inherited=True,
        kind="text",
        per_namespace="4.15",
        bears=False,
    ),
    # Connection tracking. The limit belongs to the host, the count and the timers to a namespace.
    Sysctl(
        "net.netfilter.nf_conntrack_max",
        does="most entries a namespace's connection tracking holds; one more and packets are dropped",
        price="256 bytes an entry (384 with nf_conntrack_acct)",
        unit="entries",
        scope="host",
        default_note="equal to nf_conntrack_buckets since 5.15, four times as much before",
        better="higher",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_buckets",
        does="size of the one hash table that all namespaces share; an entry is in it twice",
        price="8 bytes a bucket; too few make every lookup walk a chain",
        unit="buckets",
        scope="host",
        default_note="262144 with more than 4 GB of memory since 5.15, 65536 before; writable "
        "since ~4.8",
        better="higher",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_expect_max",
        does="most expected connections (FTP, SIP helpers)",
        price="",
        unit="entries",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
        does="how long conntrack keeps a closed connection; a timer of its own, not TIME_WAIT's",
        price="below 60 s a NAT may reuse a tuple that an end still holds in TIME_WAIT",
        unit="s",
        per_namespace="~3.6",
        default="120",
        better="lower",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_timeout_fin_wait",
        does="how long conntrack waits for the second FIN",
        price="",
        unit="s",
        per_namespace="~3.6",
        default="120",
        better="lower",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_timeout_close",
        does="how long conntrack keeps a connection ended by RST",
        price="",
        unit="s",
        per_namespace="~3.6",
        default="10",
        better="lower",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_timeout_established",
        does="how long conntrack keeps an idle established connection",
        price="shorter than a real idle time, the connection is cut when a rule needs its state",
        unit="s",
        per_namespace="~3.6",
        default="432000",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_tcp_loose",
        does="1 lets conntrack pick up a connection whose handshake it did not see",
        price="",
        low=0,
        high=1,
        per_namespace="~3.6",
        default="1",
    ),
    Sysctl(
        "net.netfilter.nf_conntrack_acct",
        does="counts packets and bytes of each entry",
        price="128 bytes more an entry",
        low=0,
        high=1,
        per_namespace="~3.6",
        default="0",
    ),
    # Host-wide limits: one value for every namespace.
    Sysctl(
        "net.ipv4.tcp_max_orphans",
        does="most sockets that no process holds any more; above it they are reset",
        price="up to 64 kB each",
        unit="sockets",
        scope="host",
        better="higher",
    ),
    Sysctl(
        "net.ipv4.tcp_mem",
        does="memory of all TCP sockets: low, pressure, most",
        price="above the last value sockets are aborted (TCPAbortOnMemory)",
        unit="pages",
        scope="host",
        kind="integers",
        better="higher",
    ),
    Sysctl(
        "net.core.netdev_max_backlog",
        does="packets a processor queues between driver and stack; veth and loopback use it too",
        price="a long queue is latency",
        unit="packets",
        scope="host",
        default="1000",
        better="higher",
    ),
    Sysctl(
        "net.core.rmem_max",
        does="limit for SO_RCVBUF",
        price="",
        unit="bytes",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.wmem_max",
        does="limit for SO_SNDBUF",
        price="",
        unit="bytes",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.rmem_default",
        does="receive buffer of sockets other than TCP's",
        price="",
        unit="bytes",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.wmem_default",
        does="send buffer of sockets other than TCP's",
        price="",
        unit="bytes",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.default_qdisc",
        does="queueing discipline of new network devices",
        price="",
        kind="text",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.netdev_budget",
        does="packets a softirq round may take",
        price="",
        unit="packets",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.netdev_budget_usecs",
        does="time a softirq round may take",
        price="",
        unit="us",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.core.rps_sock_flow_entries",
        does="table of receive flow steering",
        price="",
        unit="entries",
        scope="host",
        bears=False,
    ),
    Sysctl(
        "net.ipv4.udp_mem",
        does="memory of all UDP sockets",
        price="",
        unit="pages",
        scope="host",
        kind="integers",
        bears=False,
    ),
)

CATALOGUE: Final[dict[str, Sysctl]] = {entry.key: entry for entry in _ENTRIES}
"""Every catalogued key, by its dotted name."""

INHERITED: Final = tuple(entry.key for entry in _ENTRIES if entry.inherited)
"""Keys that a fresh namespace copies from the first one; all others start from constants.

Read in tcp_sk_init and inet_init_net: tcp_rmem and tcp_wmem are copied, and so is the congestion
control. net.ipv4.conf.* is copied too unless net.core.devconf_inherit_init_net is 2. None of them
decides whether a short connection finds a port, a queue slot or a conntrack entry.
"""
