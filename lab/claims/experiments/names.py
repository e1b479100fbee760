"""What conntrack's settings are called, whose they are, and how large they are here.

Read only: the sizes belong to the host, and the lab does not change it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from lab.claims.experiments.base import ClaimExperiment
from lab.claims.findings import Conntrack
from lab.sysctl.names import to_path
from lab.testbed.base import UntestableError
from lab.testbed.ground import Ground
from loadgen.sample import ROLE_CLIENT
from loadgen.sampling import sysctls_in_force

MAX: Final = "net.netfilter.nf_conntrack_max"
BUCKETS: Final = "net.netfilter.nf_conntrack_buckets"
OLD_MAX: Final = "net.ipv4.netfilter.ip_conntrack_max"
OLD_BUCKETS: Final = "net.ipv4.netfilter.ip_conntrack_buckets"
TIMEOUT: Final = "net.netfilter.nf_conntrack_tcp_timeout_time_wait"
KEYS: Final = (MAX, BUCKETS, TIMEOUT)
HASHSIZE: Final = Path("/sys/module/nf_conntrack/parameters/hashsize")
_WRITE_BITS: Final = 0o222


def sizes(ground: Ground) -> Conntrack:
    """Read the host's values, and which of today's keys a fresh namespace may set."""
    # The lab's own namespace is the host's. It is read and not entered: an ordinary user may not.
    host = sysctls_in_force()
    if MAX not in host or BUCKETS not in host:
        raise UntestableError(f"there is no {MAX} here", "load the module: modprobe nf_conntrack")
    entries, buckets = int(host[MAX]), int(host[BUCKETS])
    old_max, old_buckets = (
        Path("/proc/sys", to_path(key)).exists() for key in (OLD_MAX, OLD_BUCKETS)
    )
    modes = ground.inside(
        ROLE_CLIENT, lambda: {key: Path("/proc/sys", to_path(key)).stat().st_mode for key in KEYS}
    )
    settable = [key for key, mode in modes.items() if mode & _WRITE_BITS]
    fixed = [key for key in KEYS if key not in settable]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    return Conntrack(
        old_max_exists=old_max,
        old_buckets_exists=old_buckets,
        hashsize_exists=HASHSIZE.exists(),
        settable_in_namespace=settable,
        fixed_in_namespace=fixed,
        entries=entries,
        buckets=buckets,
        memory=memory,
        evidence=[
            f"{OLD_MAX} {'exists' if old_max else 'does not exist'}, {OLD_BUCKETS} "
            f"{'exists' if old_buckets else 'does not exist'}",
            f"{MAX} = {entries}, {BUCKETS} = {buckets}, on a machine with {memory:.1f} GiB",
            f"in a fresh namespace writable: {', '.join(settable) or 'none'}; read-only: "
            f"{', '.join(fixed) or 'none'}",
        ],
    )


EXPERIMENTS = (ClaimExperiment(name="conntrack-settings", finding=Conntrack, run=sizes),)
