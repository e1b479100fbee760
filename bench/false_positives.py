"""How often an experiment calls two equal arms different: at most as often as it says.

    python -m bench.false_positives                     simulated, 2,000 experiments a row
    python -m bench.false_positives --real runs/null    also 20 real experiments, under one directory

Both arms have the same tuning. Whoever then finds a difference found chance, and may do so in 5 % of
experiments (`lab.analysis.stats.ALPHA`), no more. Three ways to look:

simulated   losses drawn from laws that look like real ones: bursty, nearly constant, mostly zero;
real        `lab run` with the same small port range twice, so that connections really are lost, a
            different number each time; repetitions that a directory holds are not run again;
shuffled    the trials of all real experiments together, dealt out to two arms at random, again and
            again: real values, and as many experiments as wanted.

Ends with 1 when a row called a difference more often than chance allows: when that many or more
would come about in less than one of a thousand series.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import command
from lab.analysis.stats import ALPHA, mann_whitney
from lab.analysis.verdict import UNMEASURED, ArmFacts, Loss, verdict_of

SCHEDULED = 10_000
CHANCE = 0.001
TUNING = """\
# The same in both arms. Half of the ports are gone in 0.6 s; then the kernel searches, and how many
# connections are lost to that is different in every trial.
net.ipv4.ip_local_port_range = 40000 49999
net.ipv4.tcp_tw_reuse = 0
"""
OPTIONS = ("--rate", "8000", "--duration", "1.2s", "--trials", "4")

Law = Callable[[random.Random], int]
LAWS: dict[str, Law] = {
    "bursty": lambda dice: 0 if dice.random() < 0.4 else int(dice.lognormvariate(5, 1.5)),
    "nearly constant": lambda dice: int(dice.gauss(6200, 60)),
    "mostly zero": lambda dice: 0 if dice.random() < 0.9 else dice.randint(1, 50),
    "all or nothing": lambda dice: dice.choice((0, SCHEDULED)),
}


def arm(losses: Iterable[int]) -> ArmFacts:
    return ArmFacts("same", tuple(Loss(scheduled=SCHEDULED, failed=0, dropped=n) for n in losses))


def calls_a_difference(before: list[int], after: list[int]) -> bool:
    """Whether the verdict, as an experiment would give it, says that something changed."""
    verdict, _ = verdict_of(arm(before), arm(after))
    assert verdict not in UNMEASURED
    return verdict != "no_effect"


def tail(found: int, of: int) -> float:
    """The chance of `found` or more of `of` where each has the chance ALPHA."""
    log = math.lgamma
    return sum(
        math.exp(
            log(of + 1) - log(k + 1) - log(of - k + 1)
            + k * math.log(ALPHA) + (of - k) * math.log(1 - ALPHA)
        )
        for k in range(found, of + 1)
    )  # fmt: skip


def show(name: str, found: int, of: int) -> bool:
    """Print one row and return whether it is within what chance allows."""
    within = tail(found, of) >= CHANCE
    sign = "ok" if within else "TOO OFTEN"
    print(f"  {name:<44} {found:>5} of {of:>5}  {found / of:6.2%}  {sign}")
    return within


def simulated(repetitions: int) -> bool:
    print(f"simulated, equal arms called different (stated: at most {ALPHA:.0%})")
    within = True
    for name, law in LAWS.items():
        for trials in (4, 6, 10):
            dice = random.Random(f"{name}/{trials}")
            found = sum(
                calls_a_difference(
                    [law(dice) for _ in range(trials)], [law(dice) for _ in range(trials)]
                )
                for _ in range(repetitions)
            )
            within &= show(f"{name}, {trials} + {trials} trials", found, repetitions)
    return within


def real(directory: Path, repetitions: int) -> bool:
    """Run what is missing of the real experiments and judge them all."""
    directory.mkdir(parents=True, exist_ok=True)
    tuning = directory / "same.conf"
    tuning.write_text(TUNING)
    verdicts: Counter[str] = Counter()
    losses: list[int] = []
    seen: dict[str, int] = {}
    for number in range(1, repetitions + 1):
        out = directory / f"{number:02}"
        if not (out / "comparison.json").exists():
            command = [sys.executable, "-m", "lab", "run", "--before", tuning, "--after", tuning]
            subprocess.run(
                [*map(str, command), *OPTIONS, "--quiet", "--out", str(out)],
                stdout=subprocess.DEVNULL,
                check=False,
            )
        comparison = json.loads((out / "comparison.json").read_text())
        verdicts[comparison["verdict"]] += 1
        runs = [run for side in comparison["arms"] for run in side["trials"]]
        losses += [run["failed"] + run["dropped"] for run in runs]
        for metric in comparison["metrics"]:
            seen[metric["name"]] = seen.get(metric["name"], 0) + metric["significant"]
    measured = sum(n for name, n in verdicts.items() if name not in UNMEASURED)
    found = measured - verdicts["no_effect"]
    print(f"real, {measured} of {repetitions} experiments measured: {dict(verdicts)}")
    print(f"  connections lost in {len(losses)} trials: {min(losses):,} to {max(losses):,}")
    within = show("verdicts, 4 + 4 trials", found, measured)
    for name, number in seen.items():
        within &= show(f"metric {name}", number, repetitions)
    return shuffled(losses) and within


def shuffled(losses: list[int], repetitions: int = 2000) -> bool:
    dice = random.Random("shuffled")
    within = True
    for trials in (4, 10):
        if 2 * trials > len(losses):
            continue
        found = 0
        for _ in range(repetitions):
            drawn = dice.sample(losses, 2 * trials)
            found += mann_whitney(drawn[:trials], drawn[trials:]) <= ALPHA
        within &= show(f"shuffled, {trials} + {trials} real trials", found, repetitions)
    return within


def main() -> int:
    parser = command.options(__doc__, "false_positives")
    parser.add_argument("--repetitions", type=int, default=2000, help="simulated ones, a row")
    parser.add_argument("--real", type=Path, help="also run real experiments, kept there")
    parser.add_argument("--real-repetitions", type=int, default=20)
    options = parser.parse_args()
    within = simulated(options.repetitions)
    if options.real is not None:
        within &= real(options.real, options.real_repetitions)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
