"""Errors that a user reads: two halves, one line, one exit code each."""

import errno
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from loadgen.cli.group import LazyGroup, run_command
from loadgen.errors import ChurnlabError, Exit
from loadgen.files import NoRoomError, WriteError, writing
from loadgen.run import coordinator, stored
from loadgen.sampling import namespace
from loadgen.thresholds import ThresholdError


def test_the_line_is_the_two_halves() -> None:
    assert str(ChurnlabError("no such thing", "make one")) == "no such thing; make one"
    assert str(ChurnlabError("no such thing")) == "no such thing"


def test_both_halves_survive_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(stored.StoredError("nothing here", "look there")))
    assert (error.problem, error.remedy) == ("nothing here", "look there")
    pointing = ThresholdError("unknown metric", "fialed: rate == 0", 0)
    assert str(pickle.loads(pickle.dumps(pointing))) == str(pointing)


def kinds(base: type[ChurnlabError]) -> Iterator[type[ChurnlabError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_loadgen_has_no_error_without_the_base() -> None:
    found = {kind for kind in kinds(ChurnlabError) if kind.__module__.startswith("loadgen.")}
    assert found >= {
        coordinator.RunError,
        stored.StoredError,
        namespace.NamespaceError,
        ThresholdError,
    }


@pytest.mark.parametrize(
    ("kind", "code"), [(stored.StoredError, Exit.USAGE), (coordinator.RunError, Exit.UNEXPECTED)]
)
def test_a_command_prints_the_line_and_exits_with_the_code(
    kind: type[ChurnlabError],
    code: Exit,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @click.command()
    def broken() -> None:
        raise kind("it broke", "mend it")

    class Group(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            return broken

    monkeypatch.setattr("sys.argv", ["x", "break"])
    with pytest.raises(SystemExit) as ended:
        run_command(Group(package="none", verbs={"break": ""}, name="x"))
    assert ended.value.code == code
    assert capsys.readouterr().err == "error: it broke; mend it\n"


def test_what_cannot_be_written_is_named() -> None:
    with pytest.raises(NoRoomError) as unnamed, writing(Path("reports")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(unnamed.value).startswith("cannot write reports: No space left on device, ")
    with pytest.raises(WriteError) as named, writing("elsewhere"):
        Path("/no/such/x").write_text("")
    assert str(named.value) == "cannot write /no/such/x: No such file or directory"


def test_a_reader_that_went_away_is_no_file() -> None:
    with pytest.raises(BrokenPipeError), writing("-"):
        raise BrokenPipeError
