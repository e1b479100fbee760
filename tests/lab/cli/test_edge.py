"""What a user can mend is a line and a documented exit code; the rest is not called his mistake."""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

import lab
from lab.cli import VERBS, ablate_run, sweep_run
from lab.cli.edge import edge
from lab.sysctl.tuning import TuningError
from lab.testbed.base import TestbedError
from lab.trials.trial import TrialError
from loadgen.cli.group import LazyGroup, run_command
from loadgen.errors import ChurnlabError
from loadgen.files import WriteError

GROUP = LazyGroup(name="lab", package="lab.cli", verbs=VERBS)


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def call(*_: Any) -> NoReturn:
        raise error

    return call


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["lab", *words])
    with pytest.raises(SystemExit) as stopped:
        run_command(GROUP)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.parametrize(
    ("words", "module", "function"),
    [(["sweep"], sweep_run, "sweep"), (["ablate", "--after", "x"], ablate_run, "execute")],
)
def test_only_what_cannot_be_written_is_called_so(
    words: list[str],
    module: Any,
    function: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A process that cannot be started has no file name: it was "cannot write None" once."""
    monkeypatch.setattr(module, function, raising(OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))))
    assert ended(monkeypatch, *words) == 1
    said = capsys.readouterr().err
    assert "None" not in said
    assert "unexpected BlockingIOError" in said
    monkeypatch.setattr(module, function, raising(WriteError("cannot write x: No space left")))
    assert ended(monkeypatch, *words) == 2
    assert capsys.readouterr().err == "error: cannot write x: No space left\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            TuningError("line 1: bad", "line 2: worse"),
            2,
            "error: line 1: bad\nerror: line 2: worse\n",
        ),
        (
            TestbedError("no nft", "apt install nftables"),
            2,
            "error: no nft; apt install nftables\n",
        ),
        (TrialError("loadgen ended"), 2, "error: loadgen ended\n"),
        (ValueError("not an operation"), 2, "error: not an operation\n"),
        (KeyboardInterrupt(), 130, "error: interrupted, nothing yet\n"),
    ],
)
def test_each_way_to_end(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped, edge(lambda: "interrupted, nothing yet"):
        raise error
    assert stopped.value.code == code
    assert capsys.readouterr().err == said


def test_every_error_of_the_lab_has_a_problem_and_a_remedy() -> None:
    """All on one base, so that no one has to look for the seam in a sentence."""
    found = set()
    for module in pkgutil.walk_packages(lab.__path__, "lab."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if not (isinstance(value, type) and issubclass(value, Exception)):
                continue
            if value.__module__.startswith("lab."):
                assert issubclass(value, ChurnlabError), f"{module.name}.{name}"
                found.add(name)
    assert len(found) >= 10
