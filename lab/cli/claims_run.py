"""Carries out `lab claims`: experiments, results, the files, the exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import trio
from rich.console import Console

from lab.analysis import text
from lab.claims import render
from lab.claims.catalogue import Entry
from lab.claims.expected import Platform
from lab.claims.experiments import ClaimExperiment
from lab.claims.findings import Finding
from lab.claims.outcome import Failed, Found, Outcome
from lab.claims.records import Claims
from lab.claims.results import experiments_for, results
from lab.claims.runner import run
from lab.cli.progress import StatusLines
from lab.testbed.netns import pair
from lab.testbed.processes import slowness
from lab.testbed.userns import ensure_privileges
from loadgen.cli.group import write_to
from loadgen.errors import Exit
from loadgen.files import check_results, write_whole, writing
from loadgen.foreign import Harmless
from loadgen.run.environment import describe

JSON, MARKDOWN = "claims.json", "claims.md"


class ClaimsStatus(StatusLines):
    """A line for each experiment that ended: the runner's `ClaimsProgress`."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._total = total
        self._done = 0

    def started(self, experiment: ClaimExperiment[Any]) -> None:
        """Say nothing: most are over in a second."""

    def ended(self, experiment: ClaimExperiment[Any], outcome: Outcome) -> None:
        """Say how an experiment ended."""
        self._done += 1
        told = ""
        if not isinstance(outcome, Found):
            told = f"  {'FAILED' if isinstance(outcome, Failed) else 'not here'}: {outcome.reason}"
        self.say(
            f"{self._done:>3}/{self._total} {experiment.name:<22} {outcome.seconds:5.1f} s{told}"
        )


def execute(
    entries: Sequence[Entry], *, json_file: str | None, out: Path | None, details: bool, quiet: bool
) -> Exit:
    """Test the claims, write and show the results; return the exit code.

    Raises:
        TestbedError: when no experiment can run here.
        WriteError: when a file cannot be written.
        KeyboardInterrupt: when interrupted before anything was decided.
    """
    check_results(json_file)
    ensure_privileges()
    with ExitStack() as stack:
        pair(stack)  # what cannot be had at all is said once, not for each experiment
    if out is not None:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
    wanted = experiments_for(entries)
    progress = ClaimsStatus(len(wanted), quiet=quiet)
    longest = (
        " (TIME_WAIT is waited for, 60 s and more)" if any(e.limit > 60 for e in wanted) else ""
    )
    counts = text.plural(len(entries), "claim"), text.plural(len(wanted), "experiment")
    progress.say(", ".join(counts) + longest)
    claims = measure(entries, wanted, progress)
    if not claims.finished and not any(result.experiment for result in claims.claims):
        raise KeyboardInterrupt
    show(claims, details=details, to_stdout=json_file != "-")
    write(render.json(claims), render.markdown(claims), json_file, out)
    if not claims.finished:
        return Exit.INTERRUPTED
    return Exit.INVALID if any(result.failed for result in claims.claims) else Exit.PASS


def measure(
    entries: Sequence[Entry], wanted: Sequence[ClaimExperiment[Any]], progress: ClaimsStatus
) -> Claims:
    """Run the experiments and judge the claims; what was decided before a Ctrl-C stays."""
    started, moment = time.monotonic(), datetime.now(UTC)
    outcomes: dict[type[Finding], Outcome] = {}
    finished = True
    environment = msgspec.structs.replace(describe(), host=None)
    try:
        trio.run(run, wanted, progress, outcomes, slowness())
    except* KeyboardInterrupt:
        finished = False
    return Claims(
        kernel=environment.kernel or "",
        environment=environment,
        started_at=moment.isoformat(timespec="seconds"),
        seconds=time.monotonic() - started,
        finished=finished,
        claims=results(entries, outcomes, Platform.of(environment)),
    )


def write(json: str, markdown: str, json_file: str | None, out: Path | None) -> None:
    """Write the files that were asked for.

    Raises:
        WriteError: when one cannot be written.
    """
    if out is not None:
        with writing(out):
            write_whole(out / JSON, json.encode())
            write_whole(out / MARKDOWN, markdown.encode())
    write_to(json_file, json.encode())


def show(claims: Claims, *, details: bool, to_stdout: bool) -> None:
    """Print the table: on stdout, or on stderr where stdout is the JSON."""
    stream = sys.stdout if to_stdout else sys.stderr
    if stream.isatty():
        Console(file=stream).print(Harmless(render.renderable(claims, details=details)))
    else:
        stream.write(render.terminal(claims, details=details))
    stream.flush()
