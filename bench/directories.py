"""Run directories of any length, written as loadgen writes them: what reads them is measured on them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from loadgen.accounting.latency import IntervalHistogram, bucket
from loadgen.accounting.messages import LATENCIES, LATENESS, Totals
from loadgen.accounting.sums import values_of
from loadgen.config import RunConfig
from loadgen.metrics import CATALOGUE
from loadgen.run.conclude import About, Ended
from loadgen.run.rundir import RunDirectory
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR, ROLE_SERVER, Sample
from loadgen.summary import Environment, Number

TICKS: Final = 10
"""A second, as `--interval` has them by default."""
_OF_SERVER: Final = 40
"""Metrics that a server's namespace shows."""


def _histogram(tag: str, second: int, dice: random.Random) -> IntervalHistogram:
    """Return a second's latencies, with as many different ones as a real run has."""
    counts: dict[int, int] = {}
    for _ in range(2000):
        place = bucket(int(dice.lognormvariate(5.5, 0.8)))
        counts[place] = counts.get(place, 0) + 10
    return IntervalHistogram(tag, float(second), 1.0, counts)


def _about(config: RunConfig) -> About:
    """Return what `run.json` says of a run that ended well."""
    return About(
        version="0",
        config=config,
        environment=Environment(host="node", kernel="6.18", cpus=2, churnlab="0"),
        started_at="2030-01-01T00:00:00+00:00",
        sysctls={},
        absent={},
        ended=Ended(elapsed=config.duration),
    )


def kernel(number: int) -> Mapping[str, Mapping[str, Number]]:
    """Return readings of client and server at a tick, in which every counter goes on."""
    names = list(CATALOGUE)
    return {
        ROLE_CLIENT: dict.fromkeys(names, number * 7),
        ROLE_SERVER: dict.fromkeys(names[:_OF_SERVER], number * 7),
    }


def write(
    path: Path,
    config: RunConfig,
    totals: Callable[[float], Totals],
    readings: Callable[[int], Mapping[str, Mapping[str, Number]]] = kernel,
    *,
    seed: int = 1,
) -> None:
    """Write run.json, the samples and the histograms of a run; no summary.

    Args:
        path: the directory, which is made.
        config: how long it lasts says `duration`.
        totals: the generator's counts at a moment, in seconds.
        readings: of the kernel at a tick, by role and metric.
        seed: of the latencies.
    """
    dice = random.Random(seed)
    directory = RunDirectory(path)
    directory.write_run(_about(config))
    seconds = int(config.duration)
    for number in range(seconds * TICKS + 1):
        t = number / TICKS
        now = totals(t)
        directory.add_samples(
            [
                Sample(t, ROLE_GENERATOR, values_of(now, now.cpu_user + now.cpu_system)),
                *(Sample(t, role, dict(values)) for role, values in readings(number).items()),
            ]
        )
    directory.add_intervals(
        _histogram(tag, second, dice) for second in range(seconds) for tag in (*LATENCIES, LATENESS)
    )
    directory.close()
