"""One trial on its own: a fresh site, a tuning in force on both sides, one run of the generator.

An experiment (`lab.trials.experiment`) compares fixed arms; a search for a capacity chooses each trial by
what the last one showed, and needs single ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.sysctl.tuning import Tuning
from lab.testbed.base import SitePlan, Tuned
from lab.testbed.netns import NetnsTestbed, Prepare
from loadgen.run.rundir import read_summary
from loadgen.summary import Summary


class TrialError(Exception):
    """A run that could not begin. One line, with what the generator said."""


@dataclass(slots=True)
class Observed:
    """What one trial came to."""

    summary: Summary
    directory: Path
    in_force: dict[str, dict[str, str]] = field(default_factory=dict)
    """Sysctls read back, by role and dotted key."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Lines of the tuning that are out of scope here, with the reason."""


async def observe(
    testbed: NetnsTestbed,
    site_plan: SitePlan,
    tuning: Tuning,
    *,
    arm: str,
    options: Sequence[str],
    directory: Path,
    prepare: Prepare | None = None,
) -> Observed:
    """Run `loadgen run` once at a fresh site under a tuning.

    Args:
        testbed: where.
        site_plan: what the site consists of.
        tuning: put in force in the client's and the server's namespace.
        arm: its name, for messages.
        options: of `loadgen run`, but for targets, sources and `--out`.
        directory: the run directory to be; the generator's words go to `loadgen.log` beside it.
        prepare: further preparation of the namespaces.

    Raises:
        TuningError: when the tuning cannot be applied; names the arm and the line.
        TestbedError: when the site cannot be made.
        TrialError: when the run cannot begin.
    """
    log = directory.parent / "loadgen.log"
    async with testbed.site(site_plan, prepare, tuned=Tuned(tuning, arm)) as site:
        sources = [f"--source-ip={a}" for a in site.sources] if len(site.sources) > 1 else []
        arguments = [*site.targets, *options, *sources, "--quiet", "--out", str(directory)]
        code = await site.loadgen(arguments, log)
        applied = dict(site.applied)
    summary = read_summary(directory)
    if summary is None:
        said = _last_line(log)
        raise TrialError(f"loadgen ended with code {code}: {said} (see {log})")
    return Observed(
        summary,
        directory,
        {role: one.in_force for role, one in applied.items()},
        {key: reason for one in applied.values() for key, reason in one.skipped.items()},
    )


def _last_line(log: Path) -> str:
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return said[-1] if said else "it said nothing"
