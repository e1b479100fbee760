"""Containers take turns through files: nobody measures beside another, and the dead are passed over."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from lab.compose.turns import TurnError, Turns


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for part in ("claims", "done"):
        (tmp_path / part).mkdir()
    return tmp_path


def test_each_takes_the_next_trial_of_its_arm(directory: Path) -> None:
    taken = [Turns(directory, 2).claim(arm) for arm in ("after", "before", "before", "after")]
    assert taken == [
        ("01-after", 1),
        ("01-before", 1),
        ("02-before", 2),
        ("02-after", 2),
    ]
    with pytest.raises(TurnError, match="more containers of after than trials"):
        Turns(directory, 2).claim("after")


def _trial(directory: Path, arm: str, log: Path) -> None:
    turns = Turns(directory, 3)
    name, _ = turns.claim(arm)
    turns.wait(name)
    with log.open("a") as file:
        file.write(f"{name} begins\n")
        file.flush()
        file.write(f"{name} ends\n")
    turns.done(name)


def test_trials_run_one_after_the_other_in_the_order_of_the_experiment(directory: Path) -> None:
    """Six processes at once, as compose starts them: in any order, each in its own time."""
    log = directory / "log"
    context = multiprocessing.get_context("spawn")
    arms = ["after", "before", "before", "after", "after", "before"]
    processes = [context.Process(target=_trial, args=(directory, arm, log)) for arm in arms]
    for process in processes:
        process.start()
    assert Turns(directory, 3).wait_for_all() == []
    for process in processes:
        process.join()
        assert process.exitcode == 0
    order = ["01-before", "01-after", "02-after", "02-before", "03-before", "03-after"]
    assert log.read_text().splitlines() == [
        f"{name} {what}" for name in order for what in ("begins", "ends")
    ]


def test_one_that_died_is_passed_over(directory: Path) -> None:
    dead, alive = Turns(directory, 1), Turns(directory, 1)
    assert dead.claim("before")[0] == "01-before"
    name, _ = alive.claim("after")
    waiting = threading.Thread(target=alive.wait, args=(name,))
    waiting.start()
    os.close(dead._lock)  # what the kernel does with the last of a container's processes
    waiting.join()
    alive.done(name)
    assert Turns(directory, 1).wait_for_all() == ["01-before"]


def test_one_that_never_came_is_passed_over_after_a_while(directory: Path) -> None:
    turns = Turns(directory, 1)
    name, _ = turns.claim("after")
    assert turns.wait(name, within=0) == ["01-before"]


def test_one_that_is_done_is_not_missed_when_it_is_gone(directory: Path) -> None:
    first, second = Turns(directory, 1), Turns(directory, 1)
    name, _ = first.claim("before")
    first.done(name)
    os.close(first._lock)
    other, _ = second.claim("after")
    assert second.wait(other) == []
    os.close(second._lock)
