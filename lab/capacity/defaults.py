"""What a kernel gives a fresh namespace, by its version and the host's memory. Pure.

For planning on another kernel than the one at hand; where the kernel can be asked, it is
(`lab.testbed.fresh`). A distribution may have changed any of these, and brings changes back to
older kernels: `lab vm --kernel … -- tunings show kernel-default` asks the kernel itself.
"""

from __future__ import annotations

from lab.capacity.situation import (
    RANGE,
    RESERVED,
    REUSE,
    REUSE_DELAY,
    SOMAXCONN,
    TIMESTAMPS,
    TRACKED_ACCOUNTING,
    TRACKED_BUCKETS,
    TRACKED_CLOSE,
    TRACKED_MOST,
    TRACKED_TIME_WAIT,
)
from loadgen.search import CapacityError, version_of

_GIB = 1 << 30


def tracked_sizes(version: tuple[int, int], memory: float) -> tuple[int, int]:
    """Return conntrack's entries and buckets.

    nf_conntrack_init_start takes one bucket of 8 bytes for each 16,384 bytes of memory, but 16,384
    of them above 1 GiB, 65,536 above 4 GiB, and four entries for each bucket. Since 5.15
    (d532bcd0b269) the two steps are 65,536 and 262,144, at least 1,024, and an entry for each
    bucket.

    Args:
        version: of the kernel.
        memory: of the host, GiB.
    """
    recent = version >= (5, 15)
    buckets = int(memory * _GIB) // 16_384 // 8
    if memory > 4:
        buckets = 262_144 if recent else 65_536
    elif memory > 1:
        buckets = 65_536 if recent else 16_384
    buckets = max(buckets, 1_024 if recent else 32)
    return (buckets if recent else 4 * buckets), buckets


def defaults(release: str, memory: float) -> dict[str, str]:
    """Return the sysctls that a forecast reads, by dotted key, as a fresh namespace has them.

    `tcp_max_tw_buckets` is left out: it is half of the hash of established sockets, whose size is
    reckoned from memory in more ways than one.

    Args:
        release: of the kernel, such as `5.10` or `6.18.44-generic`.
        memory: of the host, GiB.

    Raises:
        CapacityError: for a release that is none, or memory that is not above 0.
    """
    version = version_of(release)
    if not memory > 0:
        raise CapacityError(f"memory: {memory:g} GiB is not above 0")
    entries, buckets = tracked_sizes(version, memory)
    found = {
        # 07f4c90062f8 made the number of ports even.
        RANGE: "32768 60999" if version >= (4, 2) else "32768 61000",
        RESERVED: "",
        # 79e9fed46038: on loopback.
        REUSE: "2" if version >= (4, 19) else "0",
        TIMESTAMPS: "1",
        # 19f92a030ca6
        SOMAXCONN: "4096" if version >= (5, 4) else "128",
        TRACKED_MOST: str(entries),
        TRACKED_BUCKETS: str(buckets),
        TRACKED_ACCOUNTING: "0",
        TRACKED_TIME_WAIT: "120",
        TRACKED_CLOSE: "10",
    }
    if version >= (6, 14):
        found[REUSE_DELAY] = "1000"  # ca6a6f93867a
    return found
