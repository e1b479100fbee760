"""Clients side by side: each in turn, round after round, and then the table of medians and ratios."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from bench.figures import Run, in_turn, ratios, spread
from bench.site import Ground
from bench.table import table

Arm = Callable[[], Awaitable[Run]]
Arms = Mapping[str, Arm]


async def interleave(ground: Ground, arms: Arms, rounds: int) -> dict[str, list[Run]]:
    """Run every arm once a round, in turn; print each run as it ends."""
    found: dict[str, list[Run]] = {name: [] for name in arms}
    width = max(map(len, arms))
    for number, name in in_turn(list(arms), rounds):
        run = await ground.undisturbed(arms[name])
        found[name].append(run)
        print(
            f"  {number + 1}/{rounds} {name:<{width}} {run.rate:>9,.0f}/s   "
            f"user {run.user_each:5.1f} µs   system {run.system_each:5.1f} µs",
            flush=True,
        )
    return found


def compared(found: Mapping[str, list[Run]], base: str) -> str:
    """Return the table of medians with ranges, and each arm's ratios to `base`, pair by pair.

    Raises:
        KeyError: when there is no such arm.
    """
    reference = found[base]
    rows = []
    for name, runs in found.items():
        rates = ratios([run.rate for run in runs], [run.rate for run in reference])
        costs = ratios([run.cpu_each for run in runs], [run.cpu_each for run in reference])
        rows.append(
            (
                name,
                spread(run.rate for run in runs).text(),
                spread(run.user_each for run in runs).text(".1f"),
                spread(run.system_each for run in runs).text(".1f"),
                spread(rates).text(".3f"),
                spread(costs).text(".3f"),
            )
        )
    heads = ("median (range)", "connections/s", "user µs", "system µs")
    return table((*heads, f"rate / {base}", f"CPU / {base}"), rows)
