"""Names of sysctls: their two ways of writing, what became of the names of the past, whose they are.

Advice on the web is of every age. A name in it that this kernel does not have is one of four: a
name of the past, a name of another kernel (later, or patched by somebody), a name of a part of the
network that is not loaded here or has nothing to do with TCP over IPv4, or a slip of the pen. Only
the last is an error, so the other three have to be known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Obsolete:
    """A key that the web still recommends and current kernels do not have, or ignore."""

    became: str
    """Today's key; empty when there is none."""
    why: str
    """What happened to it, in words that follow the key's name."""


_OBSOLETE: Final = {
    "net.ipv4.tcp_tw_recycle": Obsolete(
        "", "was removed in 4.12, because it broke clients behind NAT; nothing replaces it"
    ),
    "net.ipv4.netfilter.ip_conntrack_buckets": Obsolete(
        "net.netfilter.nf_conntrack_buckets",
        "was read-only in every kernel that had it, and is gone since 4.9",
    ),
    "net.ipv4.ip_conntrack_max": Obsolete(
        "net.netfilter.nf_conntrack_max", "is a name of 2.4 and early 2.6 kernels"
    ),
    "net.nf_conntrack_max": Obsolete(
        "net.netfilter.nf_conntrack_max", "is an alias that only the host's namespace has"
    ),
    "net.ipv4.tcp_low_latency": Obsolete("", "has had no effect since 4.14"),
    "net.ipv4.tcp_fack": Obsolete("", "has had no effect since 4.15"),
    "net.ipv4.tcp_abc": Obsolete("", "is gone from current kernels"),
    "net.ipv4.tcp_cookie_size": Obsolete("", "is gone from current kernels"),
    "net.ipv4.tcp_frto_response": Obsolete("", "is gone from current kernels"),
    "net.ipv4.tcp_dma_copybreak": Obsolete("", "is gone from current kernels"),
    "net.ipv4.tcp_thin_dupack": Obsolete("", "is gone from current kernels"),
    "net.ipv4.tcp_max_ssthresh": Obsolete("", "is gone from current kernels"),
    "net.ipv4.tcp_default_win_scale": Obsolete("", "is gone from current kernels"),
    "net.ipv4.tcp_bic": Obsolete("", "is gone: net.ipv4.tcp_congestion_control chooses today"),
    "net.ipv4.tcp_westwood": Obsolete("", "is gone: net.ipv4.tcp_congestion_control chooses today"),
    "net.ipv4.tcp_vegas_cong_avoid": Obsolete(
        "", "is gone: net.ipv4.tcp_congestion_control chooses today"
    ),
    "net.ipv4.tcp_max_tw_kmem_fraction": Obsolete("", "is a key of OpenVZ's kernels"),
    "net.ipv4.tcp_tw_timeout": Obsolete("", "is a key of some cloud vendors' kernels"),
    "net.ipv4.rt_cache_rebuild_count": Obsolete("", "went with the route cache, in 3.6"),
    "net.ipv4.inet_peer_gc_mintime": Obsolete("", "is gone from current kernels"),
    "net.ipv4.inet_peer_gc_maxtime": Obsolete("", "is gone from current kernels"),
}

_OLD_CONNTRACK: Final = "net.ipv4.netfilter.ip_conntrack_"

_LATER: Final = """
    fib_multipath_hash_policy icmp_msgs_per_sec ip_autobind_reuse ip_early_demux
    ip_local_port_step_width ip_unprivileged_port_start tcp_autocorking tcp_backlog_ack_defer
    tcp_challenge_ack_limit tcp_child_ehash_entries tcp_comp_sack_delay_ns tcp_comp_sack_nr
    tcp_comp_sack_slack_ns tcp_early_demux tcp_early_retrans tcp_ecn_fallback tcp_ecn_option
    tcp_ehash_entries tcp_fastopen tcp_fastopen_blackhole_timeout_sec tcp_fastopen_key
    tcp_fwmark_accept tcp_invalid_ratelimit tcp_l3mdev_accept tcp_limit_output_bytes
    tcp_max_reordering tcp_migrate_req tcp_min_rtt_wlen tcp_min_snd_mss tcp_min_tso_segs
    tcp_mtu_probe_floor tcp_no_ssthresh_metrics_save tcp_notsent_lowat tcp_pacing_ca_ratio
    tcp_pacing_ss_ratio tcp_pingpong_thresh tcp_plb_cong_thresh tcp_plb_enabled
    tcp_plb_idle_rehash_rounds tcp_plb_rehash_rounds tcp_plb_suspend_rto_sec tcp_probe_interval
    tcp_probe_threshold tcp_recovery tcp_reflect_tos tcp_rto_max_ms tcp_rto_min_us
    tcp_shrink_window tcp_thin_linear_timeouts tcp_tso_rtt_log udp_early_demux udp_l3mdev_accept
"""
_IPV4: Final = frozenset(_LATER.split())
"""Keys of net.ipv4 that came after 3.2: a kernel without one of them is an older one."""

_FAMILIES: Final = {
    "appletalk": "AppleTalk",
    "ax25": "AX.25",
    "bridge": "bridge filtering",
    "dccp": "DCCP",
    "decnet": "DECnet",
    "ipv6": "IPv6",
    "ipx": "IPX",
    "mptcp": "multipath TCP",
    "netrom": "NET/ROM",
    "rds": "RDS",
    "rose": "ROSE",
    "sctp": "SCTP",
    "smc": "SMC",
    "token-ring": "Token Ring",
    "unix": "Unix sockets",
    "x25": "X.25",
}
"""Folders of net that no TCP connection over IPv4 depends on."""

_ROOTS: Final = frozenset(
    {"abi", "crypto", "debug", "dev", "fs", "kernel", "net", "sunrpc", "user", "vm", "xen"}
)
"""Folders of /proc/sys."""

TRIGGERS: Final = frozenset({"net.ipv4.route.flush", "net.ipv6.route.flush"})
"""Files that do something when they are written, and cannot be read."""

_DEVICE: Final = re.compile(r"net\.(ipv4|ipv6)\.(?P<tree>conf|neigh)\.(?P<device>.+)\.[^.]+")
"""A setting of one network device; its name may hold dots."""


def obsolete(key: str) -> Obsolete | None:
    """Return what became of `key`, or None when it is not a name of the past."""
    found = _OBSOLETE.get(key)
    if found is None and key.startswith(_OLD_CONNTRACK):
        # adf0516845bc dropped the whole compatibility directory; every file in it had a twin.
        tail = key.removeprefix(_OLD_CONNTRACK)
        found = Obsolete(f"net.netfilter.nf_conntrack_{tail}", "is gone since 4.9")
    return found


def elsewhere(key: str) -> str:
    """Return why a real key may be absent from a kernel, or nothing when nobody knows it.

    The words follow the key's name. Names of the past are `obsolete`'s.
    """
    parts = key.split(".")
    if parts[0] != "net" or len(parts) < 3:
        return ""
    if parts[1] in _FAMILIES:
        return f"belongs to {_FAMILIES[parts[1]]}, which is not loaded here"
    if parts[1:3] == ["ipv4", "vs"]:
        return "belongs to IPVS, which is not loaded here"
    if parts[1] == "ipv4" and len(parts) == 3 and parts[2] in _IPV4:
        return "is a key of later kernels"
    return ""


def is_rooted(key: str) -> bool:
    """Return whether a key begins as one does: with a folder of /proc/sys."""
    return key.partition(".")[0] in _ROOTS


def device_of(key: str) -> tuple[str, str] | None:
    """Return the device that a key is a setting of, and the same setting for new devices.

    None when it is no device's: `net.ipv4.conf.eth0.rp_filter` gives `eth0` and
    `net.ipv4.conf.default.rp_filter`.
    """
    match = _DEVICE.fullmatch(key)
    if match is None:
        return None
    start, end = match.span("device")
    return match["device"], f"{key[:start]}default{key[end:]}"


def missing_module(key: str) -> str:
    """Return the module whose absence explains that `key` does not exist, or an empty string."""
    if key.startswith(("net.netfilter.nf_conntrack_", "net.nf_conntrack_")):
        return "nf_conntrack"
    if key.startswith("net.bridge."):
        return "br_netfilter"
    return ""


def to_path(key: str) -> str:
    """Return the path under /proc/sys of a dotted key: `.` and `/` change places."""
    return key.translate(_SWAP)


def to_key(path: str) -> str:
    """Return the dotted key of a path under /proc/sys; the inverse of `to_path`."""
    return path.translate(_SWAP)


_SWAP: Final = str.maketrans("./", "/.")
