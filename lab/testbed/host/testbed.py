"""A testbed whose arms may change the host, too: any other testbed, with the host's settings around."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.sysctl.apply import Applied
from lab.testbed.base import Site, SitePlan, Testbed, Tuned
from lab.testbed.faults import Fault
from lab.testbed.host.settings import HostSettings


@dataclass(frozen=True, slots=True)
class _Site:
    """A `Site` that reports what the host had before its arm changed it."""

    inner: Site
    before: Mapping[str, str]

    @property
    def targets(self) -> tuple[str, ...]:
        return self.inner.targets

    @property
    def sources(self) -> tuple[str, ...]:
        return self.inner.sources

    @property
    def applied(self) -> Mapping[str, Applied]:
        return self.inner.applied

    @property
    def baseline(self) -> Mapping[str, Mapping[str, str]]:
        """What a fresh namespace shows of the host's settings is the arm's; the true one is ours."""
        return {
            role: {key: self.before.get(key, value) for key, value in values.items()}
            for role, values in self.inner.baseline.items()
        }

    @property
    def notes(self) -> tuple[str, ...]:
        return self.inner.notes

    async def loadgen(self, arguments: Sequence[str], log: Path) -> int:
        return await self.inner.loadgen(arguments, log)

    async def strike(self, fault: Fault, directory: Path) -> float:
        return await self.inner.strike(fault, directory)


class HostTuned:
    """A `Testbed` that puts an arm's host-wide lines in force for as long as its site exists.

    A namespace shows the host's value, so to the inner testbed such a line holds already.

    Args:
        inner: makes the sites.
        host: changes the host, and outlives this testbed.
    """

    def __init__(self, inner: Testbed, host: HostSettings) -> None:
        self._inner = inner
        self._host = host

    @property
    def name(self) -> str:
        """See `Testbed.name`."""
        return self._inner.name

    def check(self) -> None:
        """See `Testbed.check`."""
        self._inner.check()

    def rehearse(self, tuned: Tuned) -> Applied:
        """See `Testbed.rehearse`."""
        with self._host.changed(tuned.tuning, tuned.arm):
            return self._inner.rehearse(tuned)

    @asynccontextmanager
    async def site(self, plan: SitePlan, *, tuned: Tuned | None = None) -> AsyncIterator[Site]:
        """See `Testbed.site`."""
        with ExitStack() as stack:
            before: dict[str, str] = {}
            if tuned is not None:
                before = stack.enter_context(self._host.changed(tuned.tuning, tuned.arm))
            async with self._inner.site(plan, tuned=tuned) as inner:
                yield _Site(inner, before)
