"""The records that `lab claims` writes: schema `churnlab.claims/1`."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from loadgen.summary import Environment, Record

CLAIMS_SCHEMA: Final = "churnlab.claims/1"
BY_KERNEL_SCHEMA: Final = "churnlab.claims-by-kernel/1"

Verdict = Literal["confirmed", "refuted", "conditional", "untestable_here"]


class Result(Record, frozen=True, kw_only=True):
    """One claim and what the experiment says of it."""

    name: str
    row: int
    """Number in the list of the article's claims."""
    says: str
    quote: str
    """The article's own words; empty when it is not in the article."""
    verdict: Verdict
    condition: str = ""
    """When the claim holds; only with `conditional`."""
    metric: str = ""
    """What decides."""
    expected: str = ""
    """What should be measured if the claim is true."""
    figure: str = ""
    """What was measured, in a few words."""
    measured: dict[str, Any] = msgspec.field(default_factory=dict)
    """Everything that the experiment measured; times in seconds."""
    reading: str
    """What the outcome means; the reason when it could not be tested."""
    instead: str = ""
    """What to do."""
    evidence: list[str] = msgspec.field(default_factory=list)
    sources: list[str] = msgspec.field(default_factory=list)
    experiment: str = ""
    """Empty when none decides this."""
    seconds: float = 0.0
    """How long the experiment took."""
    failed: bool = False
    """The experiment went wrong in a way that was not foreseen."""
    paper: Verdict
    """The verdict that documentation and sources predict for this kernel and this host's memory."""

    @property
    def surprising(self) -> bool:
        """Whether this kernel contradicts what the sources predict."""
        return self.verdict not in {self.paper, "untestable_here"}


class Claims(Record, frozen=True, kw_only=True):
    """`claims.json`."""

    schema: Literal["churnlab.claims/1"] = CLAIMS_SCHEMA
    kernel: str
    """Release, as `uname -r` prints it."""
    environment: Environment
    started_at: str
    """RFC 3339."""
    seconds: float
    """Of the whole run."""
    finished: bool
    """False when it was interrupted; `claims` then has those that were decided."""
    claims: list[Result]


class ByKernel(Record, frozen=True, kw_only=True):
    """`claims.json` of several kernels, oldest first."""

    schema: Literal["churnlab.claims-by-kernel/1"] = BY_KERNEL_SCHEMA
    kernels: list[Claims]
