"""What documentation and sources predict for a claim, by the kernel's version and the host's memory.

A verdict that holds for every kernel this lab runs on is written down as it is. Where kernels
differ, a function decides, and the changes that made the difference are listed with the release and
the commit. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lab.claims.records import Verdict
from loadgen.summary import Environment

SIZES_SINCE: Final = (5, 15)
"""conntrack's table grew, and became as large as its hash (d532bcd0b269)."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What the prediction depends on."""

    version: tuple[int, int]
    """Of the kernel."""
    memory: float
    """Of the host, GiB."""

    @classmethod
    def of(cls, environment: Environment, release: str | None = None) -> Platform:
        """Read it from an environment's record.

        Args:
            environment: of the run.
            release: of the kernel, where that is kept elsewhere.

        Raises:
            ValueError: for a kernel release that does not begin with two numbers.
        """
        release = release or environment.kernel or ""
        match = re.match(r"(\d+)\.(\d+)", release, re.ASCII)
        if match is None:
            raise ValueError(f"kernel release {release!r} does not begin with two numbers")
        return cls((int(match[1]), int(match[2])), (environment.memory_kib or 0) / (1 << 20))


@dataclass(frozen=True, slots=True)
class KernelChange:
    """Something about a claim that changed with a release."""

    since: tuple[int, int]
    what: str
    source: str

    def __str__(self) -> str:
        """Return it as a sentence's part: `since 5.15 … (commit …)`."""
        return f"since {self.since[0]}.{self.since[1]} {self.what} ({self.source})"


Paper = Verdict | Callable[[Platform], Verdict]


def predicted(paper: Paper, place: Platform) -> Verdict:
    """Return the verdict that is predicted for this kernel and host."""
    return paper(place) if callable(paper) else paper


# nf_conntrack_init_start sizes the hash by memory. Until 5.14: memory / 16,384 / 8 bytes, but 16,384
# buckets above 1 GiB and 65,536 above 4 GiB, with four entries for each. Since 5.15: 65,536 above
# 1 GiB and 262,144 above 4 GiB, with one entry for each.


def sizes_of_the_article(place: Platform) -> Verdict:
    """65,536 entries and 16,384 buckets: before 5.15, from 1 to 4 GiB."""
    old = place.version < SIZES_SINCE and 1 < place.memory <= 4
    return "confirmed" if old else "refuted"


def four_to_one(place: Platform) -> Verdict:
    """Four entries a bucket: before 5.15."""
    return "confirmed" if place.version < SIZES_SINCE else "refuted"


def eightfold_raises(place: Platform) -> Verdict:
    """131,072 buckets are more than there are: before 5.15, and up to 4 GiB."""
    small = place.version < SIZES_SINCE or place.memory <= 4
    return "confirmed" if small else "refuted"


TABLE_GREW: Final = KernelChange(
    SIZES_SINCE,
    "the hash has 65,536 buckets above 1 GiB and 262,144 above 4 GiB, in place of 16,384 and "
    "65,536, with one entry for each in place of four",
    "commit d532bcd0b269",
)
REUSE_DELAY: Final = KernelChange(
    (6, 14),
    "a port rests for tcp_tw_reuse_delay, 1,000 ms; before, the kernel compared whole seconds, so "
    "that a port was free between 0 and 1 s after it was closed",
    "commit ca6a6f93867a",
)
OWN_RANGE: Final = (
    KernelChange((6, 3), "a socket can have a range of its own, IP_LOCAL_PORT_RANGE",
           "commit 91d0b78c5177"),
    KernelChange((6, 8), "the search within that range goes through all ports in turn",
           "commit 207184853dbd"),
)  # fmt: skip
