"""Every claim, in the order of the article. Pure: what is measured comes in as findings."""

from __future__ import annotations

from typing import Any, Final

from lab.claims.catalogue import conntrack, names, packets, ports, reuse, time_wait
from lab.claims.claim import BeyondTest, Claim

Entry = Claim[Any] | BeyondTest

ENTRIES: Final[tuple[Entry, ...]] = tuple(
    sorted(
        (
            entry
            for module in (packets, time_wait, conntrack, reuse, names, ports)
            for entry in module.ENTRIES
        ),
        key=lambda entry: entry.row,
    )
)
"""By number; entries of one number stay in their file's order."""

BY_NAME: Final[dict[str, Entry]] = {entry.name: entry for entry in ENTRIES}
