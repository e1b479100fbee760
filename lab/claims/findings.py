"""What each experiment measures. Times are seconds, `evidence` is one sentence a line.

Rules read these and nothing else, so a rule can be tested with a table of findings.
"""

from __future__ import annotations

from loadgen.summary import Record


class Finding(Record, frozen=True, kw_only=True):
    """Base of all findings."""

    evidence: list[str]
    """What was done and read, with the figures of this run."""


# --- packets ------------------------------------------------------------------------------------


class Packets(Finding, frozen=True, kw_only=True):
    """Segments of single connections to memcached, captured on the client's device."""

    connections: int
    """Captured in each mode."""
    handshake: list[str]
    """The first three segments: `client SYN`, …"""
    client_close: int
    """Segments of a get that the client closes: median."""
    client_close_range: tuple[int, int]
    """Fewest and most."""
    server_close: int
    """The same when the server closes (`quit`): median."""
    reset: int
    """The same when the client resets: median."""
    empty: int
    """Connect and close without a request: median."""
    trips_waited: int
    """Round trips that the client waits for, from connect() to the reply: median."""
    trips_whole: int
    """Round trips from SYN to the server's FIN: median."""


class Delayed(Finding, frozen=True, kw_only=True):
    """Time of a connection under an emulated round trip."""

    rtt: float
    """Emulated; the lab's own round trip is some 50 µs."""
    connect: float
    """Median time of connect()."""
    reply: float
    """Median time from connect() to the reply."""


class StraySegments(Finding, frozen=True, kw_only=True):
    """What a socket in TIME_WAIT answers to segments of its old connection."""

    to_fin: str
    """The flags of the answer to the server's FIN, sent again; `nothing` when none came."""
    to_data: str
    """The flags of the answer to old data, sent again."""
    survived: bool
    """The socket was still in TIME_WAIT after its answer."""


# --- TIME_WAIT ----------------------------------------------------------------------------------


class Lifetimes(Finding, frozen=True, kw_only=True):
    """How long closed connections hold their ports, with a short tcp_fin_timeout."""

    fin_timeout: int
    """tcp_fin_timeout in force, seconds."""
    sockets: int
    """In each group."""
    time_wait: list[float]
    """Age at which the last TIME_WAIT socket was gone; groups closed half a second apart."""
    fin_wait_2: float
    """The same for a group whose peer never sent its FIN."""
    resolution: float
    """Longest time between two looks."""
    tracked_after: int | None
    """conntrack entries of the first group when all sockets were gone; None: no conntrack."""
    tracked_left: int | None
    """Seconds that those entries had left."""


class Holders(Finding, frozen=True, kw_only=True):
    """TIME_WAIT sockets left on (client, server) by each way of closing."""

    connections: int
    client_close: tuple[int, int]
    server_close: tuple[int, int]
    reset: tuple[int, int]
    ports: int
    """Ports of the client's range when the server closed first."""
    server_close_opened: int
    """Connections opened in a row over those ports, tcp_tw_reuse=0, the server closing first."""


# --- tcp_tw_reuse -------------------------------------------------------------------------------


class ReuseSettings(Finding, frozen=True, kw_only=True):
    """The sysctl itself, in a namespace that nobody has touched."""

    default: str
    accepted: list[int]
    """Those of -1 to 4 that the kernel takes."""
    timestamps: str
    """Default of tcp_timestamps."""
    recycle_exists: bool
    """Whether there is a tcp_tw_recycle."""


class ReuseModes(Finding, frozen=True, kw_only=True):
    """A port range used up, then tried again under each value of tcp_tw_reuse."""

    ports: int
    waited: float
    """Between the two rounds."""
    again: dict[str, int]
    """Connections of the second round by value: `0`, `1`, `2`, and `2 on loopback`."""
    recycled: dict[str, int]
    """How far TWRecycled moved in each second round."""
    idle_before: int
    """TIME_WAIT sockets before tcp_tw_reuse=1 was set and nothing connected."""
    idle_after: int
    """The same one second after."""


class ReuseConditions(Finding, frozen=True, kw_only=True):
    """What tcp_tw_reuse=1 depends on: connections of a second round over used ports."""

    ports: int
    timestamps: dict[str, int]
    """By `client,server` setting of tcp_timestamps: `1,1`, `0,1`, `1,0`, `0,0`."""
    only_on_server: int
    """Set on the server's side alone."""
    bound: int
    """After bind(address, 0)."""
    bound_error: str
    """The errno of the rest."""
    bound_late: int
    """After bind(address, 0) with IP_BIND_ADDRESS_NO_PORT."""


class ReuseRate(Finding, frozen=True, kw_only=True):
    """When a port may be taken again, and so how many connections a second there can be."""

    delay: float | None
    """Measured with the kernel's own setting: age of the first port that was taken again; None when
    none was."""
    delay_setting: int | None
    """tcp_tw_reuse_delay in milliseconds; None where the kernel has none."""
    short_setting: int | None
    """A shorter setting that was tried, milliseconds."""
    short_delay: float | None
    """Measured with it; None when it was not tried, or no port was taken."""
    ports: int
    offered: float
    """Connects tried a second."""
    sustained: float
    """Connections opened a second, the first second left out."""
    refused: int
    """EADDRNOTAVAIL meanwhile."""


# --- conntrack ----------------------------------------------------------------------------------


class Tracking(Finding, frozen=True, kw_only=True):
    """How many entries connections make."""

    untracked: int
    """Entries after `connections` connections when no rule asks for tracking."""
    tracked: int
    """Entries after `connections` connections over `tuples` ports, with a rule that does."""
    connections: int
    tuples: int


class EntryTimers(Finding, frozen=True, kw_only=True):
    """conntrack's own timer."""

    default: int
    """nf_conntrack_tcp_timeout_time_wait in a fresh namespace."""
    left: int
    """What an entry in TIME_WAIT had left when it was first looked at."""
    reset_state: str
    reset_left: int
    """State and time left of an entry whose connection was reset."""
    short: int
    """The timeout that was then set."""
    entries: int
    """Made under it."""
    entries_after: int
    """Left when it had passed."""
    sockets_after: int
    """TIME_WAIT sockets of the same connections at that moment."""
    looked_after: float
    """Seconds between closing and this look."""


class FullTable(Finding, frozen=True, kw_only=True):
    """Connections through a namespace whose conntrack table is full."""

    limit: int
    filled: int
    """Entries in the table when it was tried."""
    tuples: int
    reused: int
    """Connections tried over known tuples, tcp_tw_reuse=1."""
    reused_ok: int
    fresh: int
    """Connections tried over new tuples."""
    fresh_ok: int
    fresh_errors: dict[str, int]
    drops: int
    """conntrack's drop counter over the new ones."""
    syn_repeats: int
    """TCPSynRetrans of the client over the new ones."""


class EntrySize(Finding, frozen=True, kw_only=True):
    """Memory of an entry."""

    object_size: int
    """Bytes of a slab object of nf_conntrack."""


# --- names and sizes ----------------------------------------------------------------------------


class Conntrack(Finding, frozen=True, kw_only=True):
    """Names, scopes and sizes of conntrack's settings on this host."""

    old_max_exists: bool
    """net.ipv4.netfilter.ip_conntrack_max, on the host."""
    old_buckets_exists: bool
    """net.ipv4.netfilter.ip_conntrack_buckets, on the host."""
    hashsize_exists: bool
    """/sys/module/nf_conntrack/parameters/hashsize."""
    settable_in_namespace: list[str]
    """Today's keys whose file is writable in a fresh namespace."""
    fixed_in_namespace: list[str]
    """Today's keys whose file is read-only there."""
    entries: int
    """nf_conntrack_max in force."""
    buckets: int
    """nf_conntrack_buckets in force."""
    memory: float
    """Of the machine, GiB."""


# --- ports --------------------------------------------------------------------------------------


class PortDefaults(Finding, frozen=True, kw_only=True):
    """The range in a namespace that nobody has touched."""

    low: int
    high: int
    count: int
    """Both ends included."""


class UsablePorts(Finding, frozen=True, kw_only=True):
    """Connections opened until connect() fails."""

    low: int
    high: int
    opened: int
    wide_low: int
    wide_high: int
    wide_opened: int
    """The same with twice the range."""
    error: str
    """The errno of the next connect()."""
    counters: dict[str, int]
    """Counters of the kernel that moved over 50 failing connects."""
    other_port: int
    """Opened to another port of the same server while the first pool was used up."""
    other_address: int
    """Opened to another address."""


class PortSearch(Finding, frozen=True, kw_only=True):
    """What connect() costs as ports run out: medians of seconds."""

    ports: int
    first_quarter: float
    last_quarter: float
    same_parity: float
    """Share of the first half's ports that have the parity of the range's first port."""
    failing: float
    """Of a connect() that finds no port."""
    own_range_first: float | None
    own_range_last: float | None
    """The same quarters for sockets with IP_LOCAL_PORT_RANGE; None where the kernel has none."""


class StolenPort(Finding, frozen=True, kw_only=True):
    """A daemon's bind() while an outgoing connection has its port: `ok` or the errno."""

    port: int
    while_open: str
    while_open_shared: str
    """With SO_REUSEADDR on the daemon's socket."""
    in_time_wait_shared: str
    """The same after the connection was closed."""
    reserved_took: bool
    """Whether an outgoing connection took the port although it was reserved."""
    reserved_bind: str
    """The daemon's bind() when the port is in ip_local_reserved_ports."""
