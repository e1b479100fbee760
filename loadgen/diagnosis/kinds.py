"""What an entry of the catalogue of causes is, and the places on the way that it may be about. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from loadgen.sample import (
    ROLE_CLIENT,
    ROLE_HOST,
    ROLE_NAT,
    ROLE_PROXY,
    ROLE_ROUTER,
    ROLE_SERVER,
)
from loadgen.summary import Blame, Cause, Evidence

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Hop:
    """A network namespace on the way, as causes speak of it."""

    name: str
    """Its part of a cause's name."""
    fault: Blame
    host: str
    """What it is called in a sentence."""

    @property
    def where(self) -> str:
        """What happens in it happens so."""
        return f"on {self.host}"


HOPS: Final[Mapping[str, Hop]] = MappingProxyType(
    {
        ROLE_CLIENT: Hop("client", "client_host", "the client"),
        ROLE_ROUTER: Hop("between", "network", "the router"),
        ROLE_HOST: Hop("between", "network", "the host between client and server"),
        ROLE_NAT: Hop("nat", "network", "the NAT"),
        ROLE_PROXY: Hop("proxy", "server_host", "the proxy's host"),
        ROLE_SERVER: Hop("server", "server_host", "the server's host"),
    }
)
"""By role."""


@dataclass(frozen=True, slots=True)
class CauseKind:
    """One entry of the catalogue.

    Attributes:
        name: as `summary.json` has it; never changes its meaning.
        fault: whose it is.
        title: one line for people, without a full stop.
        remedy: the setting that helps, and its price.
    """

    name: str
    fault: Blame
    title: str
    remedy: str

    def explains(
        self,
        connections: int,
        evidence: Sequence[Evidence],
        *,
        first_at: float | None = None,
        words: Mapping[str, str] = MappingProxyType({}),
    ) -> Cause:
        """Return the cause of so many connections.

        Args:
            connections: failed attempts and dropped arrivals; 0 for a limit that failed nobody.
            evidence: what speaks for it.
            first_at: seconds into the run; None for the earliest moment of the evidence.
            words: for the slots of title and remedy.
        """
        moments = [item.at for item in evidence if item.at is not None and item.at >= 0]
        return Cause(
            cause=self.name,
            fault=self.fault,
            connections=connections,
            first_at=min(moments, default=None) if first_at is None else first_at,
            evidence=list(evidence),
            title=filled(self.title, words),
            remedy=filled(self.remedy, words),
        )


def filled(text: str, words: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a title or remedy with its slots filled, those that `words` lacks with nothing."""
    return _SLOT.sub(lambda slot: words.get(slot[1], ""), text)


@dataclass(frozen=True, slots=True)
class Family:
    """Entries that differ by the place alone; `{where}` in their texts is the place's."""

    stem: str
    title: str
    remedy: str

    def at(self, role: str) -> CauseKind:
        """Return the entry for the namespace of a role."""
        place = HOPS[role]
        words = {"where": place.where}
        return CauseKind(
            f"{self.stem}_{place.name}",
            place.fault,
            filled(self.title, words),
            filled(self.remedy, words),
        )
