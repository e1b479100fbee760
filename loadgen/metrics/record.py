"""What the catalogue says of one metric."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["counter", "gauge"]
Scope = Literal["namespace", "machine", "process", "server", "run"]


class Metric(msgspec.Struct, frozen=True):
    """One metric: where it comes from and what it means."""

    name: str
    kind: Kind
    unit: str
    """`1` for plain counts, `s` for seconds, `pages` of memory, `ratio` from 0 to 1."""
    source: str
    since: str
    """The first kernel (or program) version that has it; '-' when older than 4.0."""
    meaning: str
    scope: Scope = "namespace"
    """What the number is about. A machine's metric reads the same in every namespace."""
    limit: str = ""
    """The metric that this one runs into, where the kernel or the program sets such a limit."""
    title: str = ""
    """What people call it; of those that fail their users at their limit, and of no other."""
