"""A testbed whose arms change the host: the settings around each site, and the truth about before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.sysctl.apply import Applied
from lab.sysctl.tuning import parse
from lab.testbed import base
from lab.testbed.base import Site, SitePlan, Tuned
from lab.testbed.faults import Fault
from lab.testbed.host.journal import JournalPlace
from lab.testbed.host.settings import HostSettings
from lab.testbed.host.testbed import HostTuned
from tests.lab.testbed.host.conftest import MAX

TUNED = Tuned(parse(f"{MAX} = 524288\n", name="mine", source="built-in"), "after", (MAX, "other"))


@dataclass
class FakeSite:
    place: JournalPlace
    targets: tuple[str, ...] = ("198.19.0.1:11211",)
    sources: tuple[str, ...] = ("198.18.0.1",)
    notes: tuple[str, ...] = ("a note",)
    applied: Mapping[str, Applied] = field(default_factory=dict)

    @property
    def baseline(self) -> Mapping[str, Mapping[str, str]]:
        return {"client": {MAX: self.place.get(MAX), "other": "7"}}

    async def loadgen(self, arguments: Sequence[str], log: Path) -> int:
        return len(arguments)

    async def strike(self, fault: Fault, directory: Path) -> float:
        return fault.at


@dataclass
class FakeTestbed:
    """Notes what the host shows whenever it is asked for something."""

    place: JournalPlace
    saw: list[str] = field(default_factory=list)
    name: str = "fake"

    def check(self) -> None:
        self.saw.append(f"check {self.place.get(MAX)}")

    def rehearse(self, tuned: Tuned) -> Applied:
        self.saw.append(f"rehearse {self.place.get(MAX)}")
        return Applied({}, {})

    @asynccontextmanager
    async def site(self, plan: SitePlan, *, tuned: Tuned | None = None) -> AsyncIterator[FakeSite]:
        self.saw.append(f"made {self.place.get(MAX)}")
        yield FakeSite(self.place)
        self.saw.append(f"removed {self.place.get(MAX)}")


async def test_the_host_has_the_arms_values_for_as_long_as_the_site_exists(
    place: JournalPlace,
) -> None:
    inner = FakeTestbed(place)
    with HostSettings(place) as host:
        testbed: base.Testbed = HostTuned(inner, host)
        testbed.check()
        testbed.rehearse(TUNED)
        assert place.get(MAX) == "262144"
        async with testbed.site(SitePlan(), tuned=TUNED) as site:
            assert place.get(MAX) == "524288"
            made: Site = site
        assert place.get(MAX) == "262144"
        async with testbed.site(SitePlan()):
            assert place.get(MAX) == "262144"
    assert inner.saw == [
        "check 262144",
        "rehearse 524288",
        "made 524288",
        "removed 524288",
        "made 262144",
        "removed 262144",
    ]
    assert testbed.name == "fake"
    assert await made.loadgen(["a", "b"], Path("log")) == 2
    assert await made.strike(Fault(2.0, 0, "kill"), Path()) == 2.0
    assert (made.targets, made.sources) == (("198.19.0.1:11211",), ("198.18.0.1",))
    assert (made.notes, made.applied) == (("a note",), {})


async def test_the_baseline_is_what_was_before_the_arm_changed_it(place: JournalPlace) -> None:
    with HostSettings(place) as host:
        testbed = HostTuned(FakeTestbed(place), host)
        async with testbed.site(SitePlan(), tuned=TUNED) as site:
            assert site.baseline == {"client": {MAX: "262144", "other": "7"}}


async def test_a_failing_trial_restores(place: JournalPlace) -> None:
    with HostSettings(place) as host:
        testbed = HostTuned(FakeTestbed(place), host)
        with pytest.raises(RuntimeError, match="trial"):
            async with testbed.site(SitePlan(), tuned=TUNED):
                raise RuntimeError("trial")
    assert place.get(MAX) == "262144"
