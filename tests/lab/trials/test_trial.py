"""What a trial is, and when it is run again, with a testbed that runs nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from lab.sysctl.apply import Applied
from lab.sysctl.tuning import parse
from lab.testbed.base import SitePlan, TestbedError, Tuned
from lab.testbed.faults import Fault, parse_fault
from lab.trials.trial import MAX_REPETITIONS, TrialError, counts, observe, suffix, summary_of
from loadgen.config import LoadOptions
from loadgen.run.rundir import write_summary
from loadgen.summary import Summary, decode, encode
from tests.lab.ablate.worlds import summary

SOME = decode(encode(summary(0.0)))
TUNED = Tuned(parse("net.ipv4.tcp_tw_reuse = 1\n", name="t", source="t"), "after")


@dataclass
class _Site:
    """Writes a summary where loadgen would, or says something and writes none."""

    summary: Summary | None
    said: str = ""
    code: int = 0
    sources: tuple[str, ...] = ("198.18.0.1",)
    asked: list[str] = field(default_factory=list)
    targets: tuple[str, ...] = ("198.19.0.1:11211",)
    notes: tuple[str, ...] = ("no netem",)
    applied: Mapping[str, Applied] = field(
        default_factory=lambda: {"client": Applied({"a": "1"}, {"b": "line 2: the host's"})}
    )
    baseline: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {"client": {"a": "0"}}
    )

    async def loadgen(self, arguments: Sequence[str], log: Path) -> int:
        self.asked = list(arguments)
        run = Path(arguments[arguments.index("--out") + 1])
        run.mkdir()  # noqa: ASYNC240 - a temporary folder
        if self.summary is not None:
            write_summary(run, self.summary)
        log.write_text(self.said)  # noqa: ASYNC240 - a few bytes
        return self.code

    async def strike(self, fault: Fault, directory: Path) -> float:
        raise TestbedError(f"{fault} cannot be carried out in {directory.name}")


@dataclass
class _Testbed:
    made: _Site
    name: str = "fake"

    def check(self) -> None: ...

    def rehearse(self, tuned: Tuned) -> Applied:
        return Applied({}, {})

    @asynccontextmanager
    async def site(self, plan: SitePlan, *, tuned: Tuned | None = None) -> AsyncIterator[_Site]:
        yield self.made


@pytest.mark.parametrize("repetition", range(MAX_REPETITIONS + 2))
def test_a_valid_trial_counts_at_once_and_a_spoiled_one_when_no_try_is_left(
    repetition: int,
) -> None:
    spoiled = msgspec.structs.replace(SOME, validity="generator_limited")
    assert counts(SOME, repetition)
    assert counts(spoiled, repetition) == (repetition >= MAX_REPETITIONS)


def test_a_repetition_has_a_directory_of_its_own() -> None:
    assert [suffix(repetition) for repetition in range(3)] == ["", "-2", "-3"]


def test_without_a_summary_the_generators_last_line_is_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match=r"code 2: error: no such host \(see here\)"):
        summary_of(tmp_path, 2, "starting\nerror: no such host\n\n", see="here")
    with pytest.raises(TrialError, match=r"code -9: it printed nothing$"):
        summary_of(tmp_path, -9, "")


async def test_a_trial_tells_what_held_and_what_was_asked(tmp_path: Path) -> None:
    site = _Site(SOME, sources=("198.18.0.1", "198.18.0.2"))
    found = await observe(
        _Testbed(site),
        SitePlan(),
        TUNED,
        load=LoadOptions(rate=5.0),
        directory=tmp_path / "run",
        log=tmp_path / "log",
    )
    assert found.summary == SOME
    assert found.in_force == {"client": {"a": "1"}}
    assert found.skipped == {"b": "line 2: the host's"}
    assert found.baseline == {"client": {"a": "0"}}
    assert (found.notes, found.faults) == (("no netem",), ())
    assert site.asked[:3] == ["198.19.0.1:11211", "--rate=5", "--source-ip=198.18.0.1"]
    assert site.asked[3] == "--source-ip=198.18.0.2"


async def test_a_fault_that_cannot_be_carried_out_is_on_record(tmp_path: Path) -> None:
    (done,) = (
        await observe(
            _Testbed(_Site(SOME)),
            SitePlan(),
            TUNED,
            load=LoadOptions(),
            directory=tmp_path / "run",
            log=tmp_path / "log",
            faults=[parse_fault("kill server-1 at 2s")],
        )
    ).faults
    assert done.at is None
    assert "in run" in done.error or "over before" in done.error


async def test_a_run_that_cannot_begin_names_its_log(tmp_path: Path) -> None:
    site = _Site(None, said="error: --rate: not a number\n", code=2)
    with pytest.raises(TrialError, match=rf"not a number \(see {tmp_path}/log\)"):
        await observe(
            _Testbed(site),
            SitePlan(),
            TUNED,
            load=LoadOptions(),
            directory=tmp_path / "run",
            log=tmp_path / "log",
        )
