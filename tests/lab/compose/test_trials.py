"""A compose experiment without containers: what plan, clients and report do with the shared volume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from lab.analysis.store import load
from lab.compose import trials
from lab.compose.settings import ComposeSettings
from lab.compose.trials import ClientContainer
from lab.compose.turns import Turns
from lab.testbed.docker.inside import addresses, server
from lab.trials.trial import TrialError
from loadgen.summary import Summary
from tests.lab.compose.test_settings import DEFAULTS
from tests.lab.synthetic import Plan, write_run

BEFORE = {"net.ipv4.tcp_tw_reuse": "2"}
AFTER = {"net.ipv4.tcp_tw_reuse": "1"}
COLLAPSE = Plan(rate=6000, duration=4)
CLEAN = Plan(rate=6000, duration=4, collapse=False)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared volume of a container that needs no address and has one server."""
    volume = tmp_path / "runs"
    volume.mkdir()
    monkeypatch.setattr(addresses, "suspend_privileges", lambda: None)
    monkeypatch.setattr(addresses, "join", lambda _=None: "198.18.0.254")
    monkeypatch.setattr(addresses, "drop_privileges", lambda: None)
    monkeypatch.setattr(addresses, "resolve", lambda _: ["172.18.0.2"])
    # Here the clients come one after the other: nobody else to wait for.
    monkeypatch.setattr(Turns, "_everybody", lambda *_: None)
    return volume


def planned(volume: Path, **variables: str) -> Path:
    trials.plan({**DEFAULTS, "TRIALS": "2", **variables}, volume)
    return trials.current(volume)


def loads(*plans: Plan) -> tuple[list[list[str]], object]:
    """Return a stand-in for the generator that makes these runs in turn, and whom it was sent to."""
    targets: list[list[str]] = []
    left = iter(plans)

    def run(
        self: ClientContainer, asked: Sequence[str], found: ComposeSettings, path: Path
    ) -> Summary:
        targets.append(list(asked))
        return write_run(path, next(left), seed=len(targets))

    return targets, run


def test_the_plan_makes_the_experiments_folder_and_clears_the_last_one(volume: Path) -> None:
    (volume / "20200101-000000/trials").mkdir(parents=True)
    directory = planned(volume)
    assert {path.name for path in volume.iterdir()} == {"current", directory.name}
    experiment = trials.read_experiment(directory)
    assert experiment.testbed == "compose"
    assert not experiment.finished
    assert experiment.config.rate == float(DEFAULTS["RATE"])
    assert f"--rate={DEFAULTS['RATE']}" in (experiment.config.loadgen or ())
    assert experiment.baseline["client"]["net.ipv4.tcp_tw_reuse"].isdigit()
    assert experiment.baseline["client"] == experiment.baseline["server"]
    assert trials.read_settings(directory).trials == 2


def test_a_wrong_variable_makes_nothing(volume: Path) -> None:
    with pytest.raises(ValueError, match="TRIALS=none"):
        planned(volume, TRIALS="none")
    assert list(volume.iterdir()) == []


def test_before_the_plan_there_is_no_experiment(volume: Path) -> None:
    with pytest.raises(OSError, match="current"):
        trials.current(volume)


def test_a_client_runs_one_trial_and_puts_it_on_record(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = planned(volume)
    targets, run = loads(COLLAPSE, CLEAN)
    monkeypatch.setattr(ClientContainer, "_load", run)
    sysctls = {"net.ipv4.tcp_tw_reuse": "2", "net.core.somaxconn": "4096"}
    for name, values in (("one", sysctls), ("two", {**sysctls, "net.core.somaxconn": "7"})):
        path = directory / f"watched/server-before-{name}.sysctls"
        path.write_bytes(msgspec.json.encode(values))
    first = ClientContainer("before", directory, BEFORE).run()
    second = ClientContainer("after", directory, AFTER).run()
    assert first.startswith("1/2 before ok")
    assert second.startswith("1/2 after  ok   24,000")
    assert targets == [["198.18.18.2:11211"], ["198.18.18.2:11211"]]
    experiment = trials.read_experiment(directory)
    assert [arm.name for arm in experiment.arms] == ["before", "after"]
    before, after = experiment.trials
    assert (before.arm, before.number, before.directory) == ("before", 1, "trials/01-before")
    assert before.used
    assert before.sysctls["server"] == {"net.ipv4.tcp_tw_reuse": "2"}  # where both servers agree
    assert "net.ipv4.tcp_tw_reuse" in before.sysctls["client"]
    assert "server" not in after.sysctls


def test_a_spoiled_trial_is_run_again_at_another_port(
    volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of the last try's TIME_WAIT sockets is in its way there."""
    directory = planned(volume)
    spoiled = Plan(rate=6000, duration=1, collapse=False, validity="generator_limited")
    targets, run = loads(spoiled, CLEAN)
    monkeypatch.setattr(ClientContainer, "_load", run)
    line = ClientContainer("after", directory, AFTER).run()
    assert "again" not in line
    assert "generator_limited, run again" in capsys.readouterr().out
    assert targets == [["198.18.18.2:11211"], ["198.18.18.2:11212"]]
    first, second = trials.read_experiment(directory).trials
    assert (first.used, first.repetition) == (False, 0)
    assert (second.used, second.directory) == (True, "trials/01-after-2")


def test_a_trial_that_stays_spoiled_is_used_in_the_end(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = planned(volume)
    spoiled = Plan(rate=6000, duration=1, collapse=False, validity="generator_limited")
    targets, run = loads(*[spoiled] * len(server.PORTS))
    monkeypatch.setattr(ClientContainer, "_load", run)
    ClientContainer("after", directory, AFTER).run()
    assert len(targets) == 3
    assert [trial.used for trial in trials.read_experiment(directory).trials] == [
        False,
        False,
        True,
    ]


def test_whatever_goes_wrong_the_next_one_has_its_turn(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that ended with an error would end compose, without a report."""

    def explode(self: ClientContainer, *_: object) -> Summary:
        raise RuntimeError("no such luck")

    directory = planned(volume, TRIALS="1")
    monkeypatch.setattr(ClientContainer, "_load", explode)
    assert ClientContainer("before", directory, BEFORE).run() == "trial 01-before: no such luck"
    _, run = loads(CLEAN)
    monkeypatch.setattr(ClientContainer, "_load", run)
    assert ClientContainer("after", directory, AFTER).run().startswith("1/1 after")
    assert ClientContainer("after", directory, AFTER).run().startswith("more containers of after")
    assert Turns(directory, 1).wait_for_all() == []
    assert trials.finish(directory) == ["trial 01-before: no such luck"]
    experiment = trials.read_experiment(directory)
    assert not experiment.finished
    assert "trial 01-before: no such luck" in (experiment.config.notes or ())


def test_a_missing_server_is_named(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = planned(volume, SERVERS="3", TRIALS="1")
    monkeypatch.setattr(trials, "SERVERS_WITHIN", 0.0)
    line = ClientContainer("before", directory, BEFORE).run()
    assert line == "trial 01-before: 1 of 3 servers are running; is SERVERS=3 meant?"


@pytest.fixture
def reports(volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the report goes; the volume is where it comes from."""
    folder = tmp_path / "reports"
    folder.mkdir()
    monkeypatch.setattr(trials.current, "__defaults__", (volume,))
    monkeypatch.setattr(trials.copy_out, "__defaults__", (folder,))
    home: list[str] = []
    monkeypatch.setattr(server, "shut_down", home.append)
    monkeypatch.setattr(trials, "shut_down", home, raising=False)
    return folder


def run_all(directory: Path, monkeypatch: pytest.MonkeyPatch, *, count: int = 4) -> None:
    for _ in range(count):
        for arm, asked, plan in (("before", BEFORE, COLLAPSE), ("after", AFTER, CLEAN)):
            monkeypatch.setattr(ClientContainer, "_load", loads(plan)[1])
            ClientContainer(arm, directory, asked).run()


def test_the_report_lands_in_the_users_folder_with_the_verdict(
    volume: Path,
    reports: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = planned(volume, TRIALS="4")
    (directory / "watched/host.jsonl").touch()
    run_all(directory, monkeypatch)
    assert trials.report() == 0
    (target,) = reports.iterdir()
    assert target.name == directory.name
    names = {path.name for path in target.iterdir()}
    wanted = {"index.html", "summary.md", "comparison.json", "junit.xml", "experiment.json"}
    assert wanted | {"trials", "latency-before.hlog", "latency-after.hlog"} == names
    assert json.loads((target / "comparison.json").read_text())["verdict"] == "prevents"
    stored = load(target)
    assert stored.experiment.finished
    assert [arm.tuning for arm in stored.experiment.arms] == ["tcp_tw_reuse=2", "tcp_tw_reuse=1"]
    assert any("host" in note for note in (stored.experiment.config.notes or ()))
    assert capsys.readouterr().out.splitlines()[-1] == f"report: reports/{target.name}/index.html"
    assert trials.__dict__["shut_down"] == ["172.18.0.2", "172.18.0.2"]


def test_the_users_names_for_the_arms_win(
    volume: Path, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = planned(volume, TRIALS="1", BEFORE_NAME="ours", AFTER_NAME="theirs")
    run_all(directory, monkeypatch, count=1)
    assert trials.report() == 3  # one trial proves nothing
    (target,) = reports.iterdir()
    assert [arm.tuning for arm in load(target).experiment.arms] == ["ours", "theirs"]


def test_a_second_report_of_the_same_second_gets_another_name(
    volume: Path, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = planned(volume, TRIALS="1")
    (reports / directory.name).mkdir()
    run_all(directory, monkeypatch, count=1)
    trials.report()
    assert (reports / f"{directory.name}-2/index.html").exists()


def test_an_experiment_in_which_nothing_ran_says_so_and_ends(
    volume: Path,
    reports: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(self: ClientContainer, *_: object) -> Summary:
        raise TrialError("no route to the servers")

    directory = planned(volume, TRIALS="1")
    monkeypatch.setattr(ClientContainer, "_load", refuse)
    for arm in ("before", "after"):
        ClientContainer(arm, directory, {}).run()
    assert trials.report() == 3
    said = capsys.readouterr().out
    assert "problem: trial 01-before: no route to the servers" in said
    assert trials.__dict__["shut_down"]


def test_a_folder_that_is_not_there_is_an_oserror_and_the_servers_are_shut_down(
    volume: Path, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = planned(volume, TRIALS="1")
    run_all(directory, monkeypatch, count=1)
    reports.rmdir()
    with pytest.raises(FileNotFoundError):
        trials.report()
    assert trials.__dict__["shut_down"]
