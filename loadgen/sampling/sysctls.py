"""The settings in force: what `run.json` says of a namespace beside its counters.

Only settings that decide how fast connections can churn, and how they fail when they cannot. What
each means is the business of `lab`'s catalogue of sysctls; here they are only read.
"""

from __future__ import annotations

from pathlib import Path

from loadgen.sampling.files import within
from loadgen.units import spaced

_ROOT = Path("/proc/sys")

WATCHED: tuple[str, ...] = (
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_autobind_reuse",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_child_ehash_entries",
    "net.ipv4.tcp_ehash_entries",
    "net.ipv4.tcp_fastopen",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_migrate_req",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_retries1",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_rfc1337",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_syn_linear_timeouts",
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_synack_retries",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_wmem",
    "net.ipv4.conf.all.rp_filter",
    "net.core.netdev_budget",
    "net.core.netdev_budget_usecs",
    "net.core.netdev_max_backlog",
    "net.core.somaxconn",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.netfilter.nf_conntrack_acct",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_checksum",
    "net.netfilter.nf_conntrack_events",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst",
    "net.netfilter.nf_conntrack_tcp_loose",
    "net.netfilter.nf_conntrack_tcp_max_retrans",
    "net.netfilter.nf_conntrack_tcp_timeout_close",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_last_ack",
    "net.netfilter.nf_conntrack_tcp_timeout_max_retrans",
    "net.netfilter.nf_conntrack_tcp_timeout_syn_recv",
    "net.netfilter.nf_conntrack_tcp_timeout_syn_sent",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_unacknowledged",
    "fs.file-max",
    "fs.nr_open",
)

"""By dotted key. Those that a kernel or a namespace does not have are left out of the answer."""


def _read_all() -> dict[str, str]:
    values = {}
    for key in WATCHED:
        try:
            text = (_ROOT / key.replace(".", "/")).read_text()
        except OSError:
            continue
        values[key] = spaced(text)
    return values


def sysctls_in_force(namespace: int | None = None) -> dict[str, str]:
    """Return the watched settings of a namespace by dotted key, words parted by single blanks.

    Args:
        namespace: a descriptor of it; None for one's own. `net.*` keys are read inside it; `fs.*`
            keys are the machine's.

    Raises:
        NamespaceError: when the namespace may not be entered.
    """
    return within(namespace, _read_all)
