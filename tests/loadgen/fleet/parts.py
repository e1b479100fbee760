"""Shards' digests with plain defaults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from loadgen.accounting.latency import IntervalHistogram
from loadgen.accounting.messages import Totals
from loadgen.accounting.sums import values_of
from loadgen.fleet import part as digests
from loadgen.fleet.member import Member
from loadgen.fleet.part import Part
from loadgen.run import hlog
from loadgen.run.conclude import Ended
from loadgen.run.stored import StoredRun
from loadgen.sample import ROLE_GENERATOR, Sample
from tests.loadgen.builders import about, run_config

WHOLE: Final = Ended(elapsed=1.0)


def stored(
    series: list[tuple[float, Totals]],
    *,
    shard: tuple[int, int] = (0, 1),
    ended: Ended | None = WHOLE,
    samples: list[Sample] | None = None,
    late: float = 0.0,
    **config: Any,
) -> StoredRun:
    """Return a run as its directory would show it."""
    return StoredRun(
        Path(f"shard-{shard[0] + 1}"),
        about(run_config(shard=shard, **config), ended, late=late),
        [
            *(samples or []),
            *(Sample(t, ROLE_GENERATOR, values_of(totals, 0.5)) for t, totals in series),
        ],
        [],
        {},
    )


def part(*arguments: Any, **options: Any) -> Part:
    """Return the digest of such a run."""
    return digests.of(stored(*arguments, **options), {})


def member(
    found: Part | None,
    index: int = 0,
    *,
    intervals: Sequence[IntervalHistogram] = (),
    **changes: Any,
) -> Member:
    """Return a shard on a node of its own."""
    fields: dict[str, Any] = {
        "index": index,
        "node": f"node-{index + 1}",
        "part": found,
        "intervals": list(hlog.logged(map(hlog.line, intervals))),
        "directory": f"shards/{index + 1}",
    }
    return Member(**{**fields, **changes})


def served(number: int, **changes: Any) -> Totals:
    """Return totals of connections that were all served."""
    fields: dict[str, Any] = {
        "scheduled": number,
        "started": number,
        "ok": number,
        "connect_calls": number,
    }
    return Totals(**{**fields, **changes})
