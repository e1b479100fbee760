"""The terminal while a run goes on: one block on stderr, drawn anew each second.

Drawing costs CPU that the generator may want, so it happens once a second and only on a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from loadgen.accounting import latency
from loadgen.accounting.latency import Counts
from loadgen.accounting.sums import PREFIX, group_of
from loadgen.config import RunConfig
from loadgen.foreign import harmless
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR, ROLE_SERVER, Sample
from loadgen.summary import Number
from loadgen.units import NOTHING, format_duration

_EVERY = 1.0
Draw: TypeAlias = Callable[[str], None]


def second_rates(
    before: Mapping[str, Number], after: Mapping[str, Number], seconds: float
) -> dict[str, float]:
    """Return offered, achieved, failed and dropped per second between two generator samples."""
    names = {"offered": "scheduled", "achieved": "ok", "failed": "failed", "dropped": "dropped"}
    return {
        shown: (after.get(PREFIX + name, 0) - before.get(PREFIX + name, 0)) / seconds
        for shown, name in names.items()
    }


def block(
    t: float,
    duration: float,
    rates: Mapping[str, float],
    generator: Mapping[str, Number],
    kernel: Mapping[str, Mapping[str, Number]],
    histograms: Mapping[str, Counts],
) -> str:
    """Return the block's text."""
    failures = "  ".join(
        f"{name} {n:,}" for name, n in sorted(group_of(generator, "outcomes").items())
    )
    total = histograms.get("total")
    p99 = format_duration(latency.quantile(total, 0.99)) if total else NOTHING
    client, server = kernel.get(ROLE_CLIENT, {}), kernel.get(ROLE_SERVER, {})
    lines = [
        f"{min(t, duration):6.1f} / {duration:g} s   offered {rates['offered']:>9,.0f}/s   "
        f"achieved {rates['achieved']:>9,.0f}/s   p99 {p99}",
        f"failed {generator.get(PREFIX + 'failed', 0):,}   "
        f"dropped {generator.get(PREFIX + 'dropped', 0):,}   "
        f"in flight {generator.get(PREFIX + 'in_flight', 0):,}   {failures}".rstrip(),
        "   ".join(
            [
                f"ports {_of(client, 'ephemeral_ports_in_use', 'ephemeral_ports_limit')}",
                f"TIME_WAIT client {_of(client, 'sockstat_TCP_tw')}"
                + (f" server {_of(server, 'sockstat_TCP_tw')}" if server else ""),
                f"conntrack {_of(client, 'nf_conntrack_entries', 'nf_conntrack_entries_limit')}",
            ]
        ),
    ]
    return "\n".join(lines)


def _of(values: Mapping[str, Number], name: str, limit: str | None = None) -> str:
    value = values.get(name)
    shown = NOTHING if value is None else f"{value:,}"
    room = values.get(limit) if limit else None
    return shown if room is None else f"{shown}/{room:,}"


@contextmanager
def terminal(*, enabled: bool) -> Iterator[Draw | None]:
    """Take stderr for a block of text; yield what draws it anew, and give the terminal back.

    Args:
        enabled: whether there is a terminal, and the user wants to see it; None is yielded if not.
    """
    if not enabled:
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - 60 ms that only a terminal needs
    from rich.live import Live as Display  # noqa: PLC0415 - the same

    console = Console(stderr=True, highlight=False)
    with Display(console=console, auto_refresh=False, transient=True) as display:
        yield lambda text: display.update(harmless(text), refresh=True)


class Live:
    """Shows a run's progress.

    Args:
        config: the run's configuration.
        draw: draws a text on the terminal, see `terminal`; None where there is none.
    """

    def __init__(self, config: RunConfig, draw: Draw | None) -> None:
        self._duration = config.duration
        self._draw = draw
        self._kernel: dict[str, dict[str, Number]] = {}
        self._last: Sample | None = None

    def update(self, sample: Sample, histograms: Mapping[str, Counts]) -> None:
        """Take in one sample; draw when a second has passed since the last time."""
        if self._draw is None:
            return
        if sample.role != ROLE_GENERATOR:
            self._kernel.setdefault(sample.role, {}).update(sample.values)
            return
        last = self._last
        if last is not None and sample.t - last.t < _EVERY:
            return
        self._last = sample
        if last is not None:
            rates = second_rates(last.values, sample.values, sample.t - last.t)
            self._draw(
                block(sample.t, self._duration, rates, sample.values, self._kernel, histograms)
            )
