"""`docker compose up`, for real: three projects side by side, each with a verdict of its own.

Ports run out after as many connections as there are ports, however fast the machine is: 600 of
1,000 arrivals find one in an arm with 600 ports, and all do in an arm with more.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from lab.analysis.store import Stored, load
from tests.docker.conftest import compose, docker, inspect

FEW = {"IP_LOCAL_PORT_RANGE": "20000 20599"}
MANY = {"IP_LOCAL_PORT_RANGE": "20000 23999", "TCP_TW_REUSE": "1"}
LOAD = {
    "RATE": "500",
    "DURATION": "2s",
    "TRIALS": "4",
    # Three projects share the machine: what matters here is who finds a port, not when.
    "MAX_LATENESS": "10s",
    "TIMEOUT": "10s",
}
ARMS = {"prevents": (FEW, MANY), "worse": (MANY, FEW), "no_effect": (FEW, FEW)}
SOMEBODY = 4711


@dataclass
class Project:
    name: str
    reports: Path
    code: int
    said: str
    containers: list[dict[str, Any]]

    @property
    def stored(self) -> Stored:
        (directory,) = self.reports.iterdir()
        return load(directory)

    @property
    def comparison(self) -> dict[str, Any]:
        (directory,) = self.reports.iterdir()
        found: dict[str, Any] = json.loads((directory / "comparison.json").read_text())
        return found


def label(project: str) -> str:
    return f"label=com.docker.compose.project={project}"


@pytest.fixture(scope="module")
def projects(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Project]]:
    """All three experiments, run at once. Each project is taken down again, whatever happens."""
    running, found = {}, {}
    try:
        for verdict, (before, after) in ARMS.items():
            reports = tmp_path_factory.mktemp(verdict)
            if os.geteuid() == 0:
                os.chown(reports, SOMEBODY, SOMEBODY)
            variables = {
                **LOAD,
                **{f"BEFORE_{name}": value for name, value in before.items()},
                "AFTER_TCP_TW_REUSE": "",
                **{f"AFTER_{name}": value for name, value in after.items()},
                "REPORTS": str(reports),
            }
            name = f"churnlab-test-{verdict.replace('_', '-')}"
            arguments = ("up", "--no-build", "--abort-on-container-failure")
            running[verdict] = name, reports, compose(name, *arguments, variables=variables)
        for verdict, (name, reports, process) in running.items():
            said, _ = process.communicate()
            names = docker("ps", "--all", "--quiet", "--filter", label(name)).split()
            found[verdict] = Project(name, reports, process.returncode, said, inspect(*names))
        yield found
    finally:
        for name, reports, process in running.values():
            process.kill()
            with compose(name, "down", "--volumes", "--timeout", "1") as ending:
                ending.communicate()
            shutil.rmtree(reports, ignore_errors=True)


@pytest.mark.parametrize(("verdict", "code"), [("prevents", 0), ("worse", 99), ("no_effect", 99)])
def test_each_project_ends_by_itself_with_its_own_verdict(
    projects: dict[str, Project], verdict: str, code: int
) -> None:
    project = projects[verdict]
    assert project.comparison["verdict"] == verdict, project.said
    assert project.code == code, project.said
    assert "problem:" not in project.said


def test_all_trials_are_accounted_for_and_named(projects: dict[str, Project]) -> None:
    stored = projects["prevents"].stored
    assert stored.missing == []
    assert stored.experiment.finished
    assert [arm.tuning for arm in stored.experiment.arms] == [
        "ip_local_port_range=20000 20599",
        "ip_local_port_range=20000 23999, tcp_tw_reuse=1",
    ]
    used = [trial for trial in stored.trials if trial.trial.used]
    assert len(used) == 8
    for trial in used:
        assert trial.summary is not None
        assert trial.summary.unaccounted() == 0
        if trial.trial.arm == "before":
            assert trial.summary.ok == pytest.approx(600, rel=0.02)
            assert trial.summary.causes[0].cause == "ephemeral_ports_exhausted"
        else:
            assert trial.summary.failed == 0


def test_the_sysctls_are_those_that_the_containers_read_back(projects: dict[str, Project]) -> None:
    for trial in projects["prevents"].stored.experiment.trials:
        wanted = FEW if trial.arm == "before" else MANY
        for role in ("client", "server"):
            values = trial.sysctls[role]
            assert values["net.ipv4.ip_local_port_range"] == wanted["IP_LOCAL_PORT_RANGE"]
            assert values["net.ipv4.tcp_tw_reuse"] == wanted.get("TCP_TW_REUSE", "2")


def test_load_goes_between_benchmark_addresses_only(projects: dict[str, Project]) -> None:
    for project in projects.values():
        for trial in project.stored.trials:
            assert trial.summary is not None
            for address, _ in trial.summary.config.addresses:
                assert IPv4Address(address) in IPv4Network("198.18.0.0/15")


def test_connection_tracking_is_sampled_in_the_container_and_on_the_host(
    projects: dict[str, Project],
) -> None:
    stored = projects["prevents"].stored
    for trial in stored.trials:
        assert trial.summary is not None
        kernel = trial.summary.kernel
        assert kernel["client"]["nf_conntrack_entries"].max >= 500
        assert "nf_conntrack_entries" in kernel["host"]
        assert kernel["server"]["netstat_Tcp_PassiveOpens"].delta >= 500
    assert any("role host the table" in note for note in stored.experiment.config.notes or ())


def test_the_report_belongs_to_the_owner_of_the_folder(projects: dict[str, Project]) -> None:
    reports = projects["prevents"].reports
    owner = reports.stat().st_uid
    assert owner == (SOMEBODY if os.geteuid() == 0 else os.geteuid())
    (directory,) = reports.iterdir()
    files = list(directory.rglob("*"))
    assert {path.stat().st_uid for path in (directory, *files)} == {owner}
    names = {path.name for path in directory.iterdir()}
    assert {"index.html", "summary.md", "comparison.json", "junit.xml"} <= names


def test_no_container_has_more_rights_than_its_role_needs(projects: dict[str, Project]) -> None:
    allowed = {"NET_ADMIN", "SETUID", "SETGID", "KILL"}
    containers = projects["prevents"].containers
    roles = {one["Config"]["Labels"]["com.docker.compose.service"] for one in containers}
    assert roles == {"plan", "server-before", "server-after", "before", "after", "host", "report"}
    for one in containers:
        host = one["HostConfig"]
        assert not host["Privileged"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        added = {name.removeprefix("CAP_") for name in host["CapAdd"] or ()}
        role = one["Config"]["Labels"]["com.docker.compose.service"]
        limit = {
            "plan": set[str](),
            "host": set[str](),
            "report": allowed - {"NET_ADMIN"},
        }
        assert added <= limit.get(role, allowed)
        assert "docker.sock" not in json.dumps(one["Mounts"])
        assert not host["PortBindings"]


def test_a_wrong_variable_is_named_and_nothing_else_starts(image: str) -> None:
    name = "churnlab-test-wrong"
    try:
        with compose(name, "up", "--no-build", variables={"RATE": "fast"}) as process:
            said, _ = process.communicate()
        assert process.returncode != 0
        assert "error: RATE=fast: not a number from 1 to 1e+06" in said
        names = docker("ps", "--all", "--quiet", "--filter", label(name)).split()
        started = [one for one in inspect(*names) if one["State"]["StartedAt"][:4] != "0001"]
        assert [one["Config"]["Labels"]["com.docker.compose.service"] for one in started] == [
            "plan"
        ]
    finally:
        with compose(name, "down", "--volumes") as ending:
            ending.communicate()


def test_taking_a_project_down_leaves_nothing(projects: dict[str, Project]) -> None:
    """The last test of this file: what the others looked at is gone afterwards."""
    for project in projects.values():
        with compose(project.name, "down", "--volumes") as ending:
            said, _ = ending.communicate()
        assert ending.returncode == 0, said
        for kind in ("container", "network", "volume"):
            everything = ("--all",) if kind == "container" else ()
            listed = docker(kind, "ls", "--quiet", *everything, "--filter", label(project.name))
            assert listed == "", kind
