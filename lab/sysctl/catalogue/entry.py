"""One catalogued sysctl."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scope = Literal["namespace", "host"]
Kind = Literal["integer", "integers", "ports", "text"]


@dataclass(frozen=True, slots=True)
class Sysctl:
    """One catalogued key."""

    key: str
    """Dotted, as sysctl(8) prints it."""
    does: str
    price: str
    """What a change costs or breaks; empty when nothing is known."""
    unit: str = ""
    low: int | None = None
    """Least value the kernel takes; None where it does not check."""
    high: int | None = None
    """Greatest value the kernel takes; None where it does not check."""
    scope: Scope = "namespace"
    kind: Kind = "integer"
    since: str = ""
    """Kernel that brought the key; empty for before 2.6.32."""
    per_namespace: str = ""
    """Kernel since which every namespace has its own; empty when it always had, or has none."""
    default: str = ""
    """What current kernels give a fresh namespace, where that is a constant."""
    default_note: str = ""
    """Other defaults of other kernels, or what the default is computed from."""
    better: Literal["higher", "lower", "neither"] = "neither"
    """Which direction can only add headroom for short connections."""
    inherited: bool = False
    """True: a fresh namespace copies the value of the first one; others start from a constant."""
    bears: bool = True
    """False: no effect on whether a short connection succeeds; the lab may leave it out."""

    @property
    def permitted(self) -> str:
        """The permitted values in words, or an empty string where the kernel checks nothing."""
        each = "each value " if self.kind == "integers" else ""
        if self.low is not None and self.high is not None:
            return f"{each}{self.low} to {self.high}"
        if self.low is not None:
            return f"{each}{self.low} or more"
        if self.high is not None:
            return f"{each}{self.high} or less"
        return ""
