"""The sysctls that decide how many short connections a host can open.

Each fact has one home, and this is it: what a key does, in which unit, which values the kernel
takes, whether a network namespace has its own copy, and what raising or lowering it costs.
Sources: Documentation/networking/ip-sysctl.rst and nf_conntrack-sysctl.rst, the handlers in
net/ipv4/sysctl_net_ipv4.c and net/netfilter/nf_conntrack_standalone.c; ranges were probed in fresh
namespaces of 6.18. A version with `~` is inferred from the date of the commit. Ranges explain a
refusal, they never cause one: the running kernel decides what it accepts.

Why the scope of a key matters here. A sysctl that is not per namespace is either invisible or
read-only in a namespace other than the first. Linux 5.7 to 5.12.1 had it wrong: nf_conntrack_max
and nf_conntrack_expect_max were writable in every namespace and changed the host (CVE-2021-38209,
mended by 2671fa4dc010). So a key of scope `host` is never written, whatever its file mode says.
"""

from __future__ import annotations

from typing import Final

from lab.sysctl.catalogue import clients, host, memory, servers, tracking
from lab.sysctl.catalogue.entry import Kind, Scope, Sysctl

__all__ = ["CATALOGUE", "INHERITED", "Kind", "Scope", "Sysctl"]

_ENTRIES: Final = (
    *clients.ENTRIES,
    *servers.ENTRIES,
    *memory.ENTRIES,
    *tracking.ENTRIES,
    *host.ENTRIES,
)

CATALOGUE: Final[dict[str, Sysctl]] = {entry.key: entry for entry in _ENTRIES}
"""Every catalogued key, by its dotted name."""

INHERITED: Final = tuple(entry.key for entry in _ENTRIES if entry.inherited)
"""Keys that a fresh namespace copies from the first one; all others start from constants.

Read in tcp_sk_init and inet_init_net: tcp_rmem and tcp_wmem are copied, and so is the congestion
control. net.ipv4.conf.* is copied too unless net.core.devconf_inherit_init_net is 2. None of them
decides whether a short connection finds a port, a queue slot or a conntrack entry.
"""
