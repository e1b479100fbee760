"""In what two runs differ besides the tuning: all that could be the reason instead of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from lab.analysis.records import ExperimentConfig
from loadgen.config import RunConfig
from loadgen.report.rows import flatten, named, said
from loadgen.summary import Environment

NOT_SET: Final = "not set"
_UNTOLD: Final = frozenset(
    {
        "seed", "trials", "namespaces", "addresses", "thresholds", "abort_on_fail", "loadgen",
        "notes", "calibration", "gates",
    }
)  # fmt: skip
"""What may differ without a bearing on the result, or another key reports already."""
_NOT_LOAD: Final = frozenset(
    {
        "workers", "sample_interval", "max_in_flight", "targets", "rtt", "memcached_threads",
        "memcached_connections", "memcached_options",
    }
)  # fmt: skip
"""Of the configuration: how and where the load was made and met, not how much of it."""


class Difference(msgspec.Struct, frozen=True):
    """Something besides the tuning in which two runs differ."""

    name: str
    before: str
    after: str
    load: bool
    """True for what decides how much is asked of the kernel: then losses do not compare."""

    @property
    def text(self) -> str:
        """One line: the name and both values."""
        return f"{self.name}: {self.before} before, {self.after} after"


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """All that a stored run or experiment records of how it was made."""

    config: RunConfig | None
    """Of the load generator; None where no run's is known."""
    environment: Environment
    lab: ExperimentConfig | None = None
    """The options of the experiment; None for a single run."""
    sysctls: Mapping[str, str] = {}
    """In force, by `role key`; those that a tuning sets left out."""
    experiment: str = ""
    """Tells experiments apart: the trials of one took turns, those of two did not."""
    started_at: str = ""
    """In words."""
    testbed: str = ""


def differences(before: Circumstances, after: Circumstances) -> list[Difference]:
    """Return everything that differs between two runs besides the tuning; the load first."""
    found: dict[str, Difference] = {}
    for difference in _all(before, after):
        found.setdefault(difference.name, difference)
    return sorted(found.values(), key=lambda difference: not difference.load)


def _all(before: Circumstances, after: Circumstances) -> Iterator[Difference]:
    yield from _records(before.config, after.config, load=True)
    counts = [len(one.config.targets) if one.config else 0 for one in (before, after)]
    if counts[0] != counts[1]:
        yield Difference("number of targets", str(counts[0]), str(counts[1]), load=True)
    if before.lab is not None and after.lab is not None:
        yield from _records(before.lab, after.lab, load=True)
        yield from _mappings(before.sysctls, after.sysctls, load=False)
    yield from _records(before.environment, after.environment, load=False)
    if before.testbed != after.testbed:
        yield Difference("testbed", before.testbed, after.testbed, load=False)
    if before.experiment != after.experiment:
        # A machine that grew slower between two experiments did it to one arm only.
        times = [one.started_at or "unknown" for one in (before, after)]
        yield Difference("time (the arms did not take turns)", times[0], times[1], load=False)


def _records(
    before: msgspec.Struct | None, after: msgspec.Struct | None, *, load: bool
) -> Iterator[Difference]:
    left, right = (msgspec.to_builtins(one) if one else {} for one in (before, after))
    yield from _mappings(left, right, load=load)


def _mappings(
    before: Mapping[str, Any], after: Mapping[str, Any], *, load: bool
) -> Iterator[Difference]:
    left, right = flatten(before), flatten(after)
    for key in sorted(left.keys() | right.keys()):
        if any(part in _UNTOLD for part in key.split(".")):
            continue
        values = [said(key, one[key]) if key in one else NOT_SET for one in (left, right)]
        if values[0] != values[1]:
            name = key if " " in key else named(key)
            yield Difference(name, values[0], values[1], load=load and key not in _NOT_LOAD)
