"""What one trial did, as the line that progress and the Docker lab print."""

from __future__ import annotations

from loadgen.summary import Summary


def trial_line(
    arm: str, number: int, trials: int, summary: Summary, *, used: bool, width: int = 6
) -> str:
    """Return a trial's result as one line; `width` is that of the longest arm's name."""
    share = summary.lost_share or 0.0
    why = f": {summary.causes[0].title}" if summary.causes else ""
    again = "" if used else f"  [{summary.validity}, run again]"
    return (
        f"{number:>3}/{trials} {arm:<{width}} ok {summary.ok:>8,}  failed {summary.failed:>7,}  "
        f"dropped {summary.dropped:>7,}  lost {share:6.1%}{why}{again}"
    )
