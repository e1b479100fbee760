"""What goes on, on stderr: lines, and a live line on a terminal where an experiment runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lab.capacity import LIMITS
from lab.report.trial_line import trial_line
from lab.trials.plan import USUAL, Calibration, ExperimentPlan
from loadgen.foreign import harmless
from loadgen.summary import Summary
from loadgen.units import format_duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class StatusLines:
    """Lines on stderr about what goes on.

    Args:
        quiet: say nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def say(self, line: str) -> None:
        """Write a line, unless quiet."""
        if not self._quiet:
            sys.stderr.write(harmless(line) + "\n")
            sys.stderr.flush()


class ExperimentStatus(StatusLines):
    """A line for each trial that ended, and a live one: an experiment's `ExperimentProgress`.

    A context manager, which has the terminal meanwhile.

    Args:
        plan: the experiment.
        doubts: lines about its tunings, to be said before the first trial, once nothing is wrong
            with the tunings: where something is, that is the one thing to say.
        quiet: show nothing.
    """

    def __init__(self, plan: ExperimentPlan, doubts: Sequence[str], *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._plan = plan
        self._duration = plan.duration or USUAL
        self._doubts = doubts
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        """Take the terminal, if there is one."""
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True, highlight=False),
                transient=True,
            )
            self._bar.start()
            total = self._plan.trials * len(self._plan.arms)
            self._task = self._bar.add_task("preparing", total=total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Write a line above the live one, if there is one; unless quiet."""
        if self._bar is not None:
            self._bar.console.print(harmless(line), markup=False, soft_wrap=True)
        else:
            super().say(line)

    def rehearsed(self) -> None:
        """Say what is doubtful about the tunings."""
        for doubt in self._doubts:
            self.say(doubt)

    def remarked(self, line: str) -> None:
        """Say it."""
        self.say(line)

    def calibrated(self, found: Calibration) -> None:
        """Say which rate was found, and which duration."""
        self._duration = found.duration
        self.say(
            f"rate: {found.rate:,.0f}/s (this machine's closed loop reaches {found.ceiling:,.0f}/s; "
            "--rate gives another)"
        )
        reach = found.reach
        if reach is not None and found.duration == reach.duration:
            self.say(
                f"duration: {format_duration(found.duration)} a trial, since at this rate the first "
                f"limit ({LIMITS[reach.limit].broken}, {reach.arm}) is reached after "
                f"{format_duration(reach.at)}; --duration gives another"
            )

    def trial_started(self, arm: str, number: int, repetition: int, directory: Path) -> None:  # noqa: ARG002 - the protocol's signature
        """Show which trial is running."""
        if self._bar is not None and self._task is not None:
            again = f", again ({repetition})" if repetition else ""
            self._bar.update(
                self._task,
                description=f"{arm} {number}/{self._plan.trials}{again}, "
                f"{format_duration(self._duration)} each",
            )

    def trial_ended(self, arm: str, number: int, summary: Summary, *, used: bool) -> None:
        """Show the result of a trial."""
        width = max(len(name) for name, _ in self._plan.arms)
        line = trial_line(arm, number, self._plan.trials, summary, used=used, width=width)
        self.say(line)
        if self._bar is not None and self._task is not None and used:
            self._bar.advance(self._task)
