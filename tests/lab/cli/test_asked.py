"""From a command's options to the record of what is asked of the load generator."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from lab.cli import ablate, plan, run, sweep
from lab.cli.asked import AblateOptions, PlanOptions, RunOptions, SweepOptions
from lab.tunings import DEMAND, demand_of
from loadgen.config import LoadOptions


def chosen(command: Any, *words: str) -> dict[str, Any]:
    """Return the options of a command as click parses them."""
    with command.make_context("it", list(words)) as context:
        parameters: dict[str, Any] = context.params
        return parameters


WORDS = ("--rate=1500", "--close=rst", "--timeout=2s", "--local-port-range=40000-40099")


def test_what_a_command_has_no_option_for_is_left_to_the_generator() -> None:
    asked = RunOptions(**chosen(run.command, *WORDS))
    assert asked.load(("failed: count == 0",)) == LoadOptions(
        rate=1_500.0,
        close="rst",
        timeout=2.0,
        local_port_range=(40_000, 40_099),
        max_lateness=0.25,
        thresholds=("failed: count == 0",),
    )


@pytest.mark.parametrize(
    ("command", "record", "words"),
    [
        (run.command, RunOptions, ()),
        (ablate.command, AblateOptions, ("--after=x",)),
        (sweep.command, SweepOptions, ()),
        (plan.command, PlanOptions, ("--rate=1",)),
    ],
)
def test_the_record_of_a_command_has_its_options_and_no_other(
    command: Any, record: Any, words: tuple[str, ...]
) -> None:
    record(**chosen(command, *words))


def test_a_rate_that_is_to_be_found_is_none() -> None:
    asked = AblateOptions(**chosen(ablate.command, "--after=x", "--rate=auto"))
    assert asked.number is None
    assert asked.load().rate is None
    assert asked.load().max_lateness == 0.25


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        (run.command, ("--rate=max",), "--rate max has no arrivals to drop"),
        (ablate.command, ("--after=x", "--rate=max"), "--rate max has no arrivals to drop"),
        (run.command, ("--proxy=haproxy",), "--proxy belongs to --topology proxy, not to direct"),
        (run.command, ("--nat-room=1",), "--nat-room belongs to --topology nat, not to direct"),
        (run.command, ("--topology=router", "--testbed=docker"), "needs --testbed netns"),
        (run.command, ("--topology=nat", "--rate=auto"), "--rate as a number, or --nat-room"),
        (sweep.command, ("--validate", "--tuning=x"), "omit --tuning"),
        (sweep.command, ("--only=x", "--tuning=x"), "omit --tuning"),
        (plan.command, (), "give --rate, or --from a recording"),
        (plan.command, ("--rate=max",), "a plan needs a number"),
        (plan.command, ("--rate=1", "--proof=x"), "--proof is for a recording"),
        (plan.command, ("--rate=1", "--output=-", "--json=-"), "cannot both be standard output"),
        (plan.command, ("--rate=1", "--memory=4G"), "give --kernel too"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    command: Any, words: tuple[str, ...], said: str
) -> None:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 2
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("asked", "rate"), [("1500", 1_500.0), ("auto", DEMAND.rate)])
def test_recommended_serves_the_load_at_the_site(asked: str, rate: float) -> None:
    words = (*WORDS, "--after=x", f"--rate={asked}", "--servers=2", "--clients=3")
    options = AblateOptions(**chosen(ablate.command, *words))
    demand = demand_of(options.load(), options.site())
    assert (demand.rate, demand.sources, demand.destinations) == (rate, 3, 2)
    assert (demand.close, demand.local_port_range) == ("rst", (40_000, 40_099))
