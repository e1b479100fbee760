"""What the whole needs to know of one shard: a digest of its run directory. Pure.

A shard's samples are some 50 KB a second, of which adding up needs little: how its run ended and
its counts at whole seconds. Each shard makes this digest itself when its run is over, so that the
control machine adds up a thousand of them in seconds; for a shard that died, control makes it from
whatever came home. The histograms are not in it: they are added up as `latency.hlog` has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from loadgen.accounting import sums
from loadgen.accounting.messages import Totals
from loadgen.run.conclude import About
from loadgen.run.stored import StoredRun
from loadgen.sample import ROLE_GENERATOR, Sample
from loadgen.summary import Summary

STEP: Final = 1.0
"""Seconds between two points of the whole's course; a shard's own page has every sample."""
_BUSIEST: Final = sums.PREFIX + "busiest_worker_seconds"


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`digest.json`: one shard, ready to be added up."""

    schema: str = "churnlab.digest/2"
    sizes: dict[str, int]
    """Bytes of the files it was made from: it stands for these and no later ones."""
    about: About
    summary: Summary
    """The shard's own, thresholds apart: those are the whole's."""
    totals: Totals
    """At its end, or when it was last heard of."""
    course: list[Totals]
    """Totals at each whole second of the run, from the first on."""
    busiest: list[float]
    """CPU seconds of its busiest worker, at the same moments."""


def of(run: StoredRun, sizes: dict[str, int]) -> Part:
    """Return the digest of a run directory, whole or cut off."""
    generator = [item for item in run.samples if item.role == ROLE_GENERATOR]
    course, busiest = [], []
    for item in at_whole_seconds(generator):
        course.append(sums.totals_of(item.values))
        busiest.append(float(item.values.get(_BUSIEST, 0)))
    return Part(
        sizes=sizes,
        about=run.about,
        summary=run.summary(),
        totals=sums.totals_of(generator[-1].values) if generator else Totals(),
        course=course,
        busiest=busiest,
    )


def at_whole_seconds(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield, for each whole second from 1 on until the samples end, the last one up to then."""
    latest, number = Sample(0.0, ROLE_GENERATOR, {}), 1
    for item in samples:
        while item.t > number * STEP:
            yield latest
            number += 1
        latest = item
    if latest.t >= number * STEP:
        yield latest


decoder = msgspec.json.Decoder(Part)
