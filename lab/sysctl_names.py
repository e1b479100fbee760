"""Names of sysctls: their two ways of writing, and what became of the names of the past."""

from __future__ import annotations

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
}

_OLD_CONNTRACK: Final = "net.ipv4.netfilter.ip_conntrack_"


def obsolete(key: str) -> Obsolete | None:
    """Return what became of `key`, or None when it is not a name of the past."""
    found = _OBSOLETE.get(key)
    if found is None and key.startswith(_OLD_CONNTRACK):
        # adf0516845bc dropped the whole compatibility directory; every file in it had a twin.
        tail = key.removeprefix(_OLD_CONNTRACK)
        found = Obsolete(f"net.netfilter.nf_conntrack_{tail}", "is gone since 4.9")
    return found


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
