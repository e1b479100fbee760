"""What an ablation leaves on disk beside its experiment: `lines.json` and `ablation.json`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from lab.analysis.records import Estimate, VerdictName
from loadgen.summary import Record

LINES_SCHEMA: Final = "churnlab.lines/1"
ABLATION_SCHEMA: Final = "churnlab.ablation/1"
LINES: Final = "lines.json"
ABLATION: Final = "ablation.json"

NONE: Final = "none"
ALL: Final = "all"

State = Literal["active", "inert", "out_of_scope"]
LineRole = Literal[
    "does_the_work",
    "needed",
    "enough",
    "helps",
    "hides",
    "no_effect",
    "harmful",
    "mixed",
    "inconclusive",
    "idle",
    "inert",
    "out_of_scope",
]


class TuningLine(Record, frozen=True, kw_only=True):
    """One line of the tuning."""

    key: str
    value: str
    number: int
    """In the file, from 1."""
    state: State
    """`inert` sets what a fresh namespace has anyway; `out_of_scope` cannot be set here."""
    reason: str
    """Why it is not active; for an active line the value before."""
    without: str | None = None
    """The arm with all lines but this one."""
    alone: str | None = None
    """The arm with this line only."""
    unfit: str = ""
    """Why one of these arms cannot be: a line that needs this one."""
    asked: bool = True
    """Whether it is to be weighed: False for the others where `--line` names some."""


class TuningLines(Record, frozen=True, kw_only=True):
    """`lines.json`: what is weighed, and which arms it takes."""

    schema: Literal["churnlab.lines/1"] = LINES_SCHEMA
    tuning: str
    source: str
    lines: list[TuningLine]
    arms: Annotated[dict[str, list[str]], Meta(max_length=1000)]
    """The active keys of each arm."""
    tracked: bool
    """Whether the servers' namespace tracks its connections."""
    notes: list[str]

    def __post_init__(self) -> None:
        """Check that the arms which lines speak of are there.

        Raises:
            ValueError: naming the line and the arm.
        """
        for line in self.lines:
            for arm in (line.without, line.alone):
                if arm is not None and arm not in self.arms:
                    raise ValueError(
                        f"the line {line.key} speaks of the arm {arm!r}: there is none"
                    )


class ArmOutcome(Record, frozen=True, kw_only=True):
    """The results of one arm's trials."""

    name: str
    keys: list[str]
    trials: int
    """Those that count."""
    limited: int
    """Those that the generator or the machine spoiled."""
    spoiled_rate: float | None
    """What the spoiled ones served per second in the median: reported, never counted."""
    losing: int
    """Trials that lost anything."""
    lost: Estimate | None
    """Share of the arrivals."""
    achieved: Estimate | None
    """Served per second."""
    first_loss: Estimate | None
    """Seconds; of the trials that lost anything."""
    cause: str
    """What broke, as the trials say; empty when nothing did."""
    forecast: bool
    """Whether the model describes this load."""
    predicted: float | None
    """The model's capacity for so long a load, per second; None where it knows no limit."""
    predicted_for_good: float | None
    entries: int | None
    """Most conntrack entries that the server's table held; None where nothing was tracked."""


class Contrast(Record, frozen=True, kw_only=True):
    """One arm against another, by the share of connections lost."""

    arm: str
    against: str
    p: float
    """Exact Mann-Whitney U, two-sided."""
    adjusted: float
    """The same with Holm's correction for all contrasts of the ablation."""
    effect: float
    """Cliff's delta: above 0 when `arm` loses more."""
    significant: bool
    """By `adjusted`."""


class Weight(Record, frozen=True, kw_only=True):
    """What one line is worth at this load."""

    line: TuningLine
    role: LineRole
    """`idle`: it cannot be set here, and what it governs never came into play."""
    without: Contrast | None
    """All lines but this one, against all."""
    alone: Contrast | None
    """This line only, against none."""
    says: str
    """The evidence in a sentence."""


class Ablation(Record, frozen=True, kw_only=True):
    """`ablation.json`."""

    schema: Literal["churnlab.ablation/1"] = ABLATION_SCHEMA
    name: str
    tuning: str
    started_at: str
    finished: bool
    rate: float | None
    """Arrivals per second; None when none could be found."""
    duration: float | None
    verdict: VerdictName
    """Of all lines against none."""
    sentence: str
    alpha: float
    arms: list[ArmOutcome]
    weights: list[Weight]
    """Of the lines that were asked about, in the file's order."""
    warnings: list[str]
    repetitions: list[str]
    missing: list[str]
