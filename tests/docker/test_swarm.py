"""`loadgen run --fleet swarm` on a swarm of three nodes, and whatever may happen to one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from lab.analysis.store import load
from lab.testbed.docker.names import LAB
from loadgen.fleet.conduct import KEY_FILE
from loadgen.run import rundir
from loadgen.run.stored import read_about
from loadgen.summary import Summary
from tests.docker.conftest import ended
from tests.docker.swarm import SERVER, Node, Swarm, swarm, until
from tests.loadgen.cli.command import summary_in, under_way, wait_until

Process = subprocess.Popen[str]
TARGET: Final = f"{SERVER}:11211"


@pytest.fixture(scope="module")
def nodes(image: str) -> Iterator[Swarm]:
    """The swarm, and a server on a machine of its own. Each test leaves it as it was."""
    able = os.geteuid() == 0 and shutil.which("dockerd") is not None
    if not able and not os.environ.get("CHURNLAB_REQUIRE_DOCKER"):
        pytest.skip("engines of one's own take root and dockerd")
    with swarm(image) as found:
        command = found.server.connected("memcached", "-u", "nobody", "-l", SERVER, "-c", "4096")
        with subprocess.Popen(command) as server:
            until(lambda: "11211" in found.server.run("ss", "-Hltn"), "memcached")
            yield found
            server.kill()


class Control:
    """`loadgen` on the machine that conducts, in a folder."""

    def __init__(self, nodes: Swarm, image: str, folder: Path) -> None:
        self.nodes = nodes
        self.folder = folder
        self._image = image

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(self, *arguments: str, engine: str = "") -> Process:
        return subprocess.Popen(
            self.nodes.control.connected(sys.executable, "-m", "loadgen", *arguments),
            cwd=self.folder,
            env={**os.environ, "DOCKER_HOST": engine or self.nodes.manager.socket},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str, image: str = "", engine: str = "") -> Process:
        return self.start(
            *("run", TARGET, "--rate", "900", "--workers", "1", "--max-lateness", "10s"),
            *("--fleet", "swarm", "--image", image or self._image, "--out", "out", *options),
            engine=engine,
        )

    def begun(self) -> bool:
        """Whether every shard's first connections are known here."""
        homes = list(self.out.glob("shards/*"))
        return len(homes) == len(self.nodes.nodes) and all(map(under_way, homes))

    def summary(self) -> Summary:
        return summary_in(self.out)


@pytest.fixture
def control(nodes: Swarm, image: str, tmp_path: Path) -> Iterator[Control]:
    yield Control(nodes, image, tmp_path)
    assert nodes.manager.docker("service", "ls", "--quiet") == ""
    assert nodes.manager.docker("secret", "ls", "--quiet") == ""


def states(summary: Summary) -> list[tuple[str, str]]:
    return [(one.node, one.state) for one in summary.shards]


WHOLE: Final = [("node-1", "whole"), ("node-2", "whole"), ("node-3", "whole")]
READY: Final = [("node-1", "Ready"), ("node-2", "Ready"), ("node-3", "Ready")]


def shard_on(node: Node) -> str:
    """Return the container of a node's shard."""
    return node.docker("ps", "--quiet", "--filter", "label=com.docker.swarm.task").strip()


def refused(process: Process) -> str:
    """Return the one line that a run is refused with."""
    code, _, said = ended(process)
    assert code == 1, said
    assert said.startswith("error: "), said
    assert said.count("\n") == 1, said
    return said


def test_every_arrival_of_three_nodes_is_accounted_for_and_a_cause_has_its_node(
    control: Control,
) -> None:
    """One node has 500 local ports for 900 connections, the others have enough."""
    few = control.nodes.nodes[1]
    ports = few.run("sysctl", "-n", "net.ipv4.ip_local_port_range").strip()
    few.run("sysctl", "-w", "net.ipv4.ip_local_port_range=20000 20499")
    try:
        code, _, said = ended(control.run("--duration", "3s"))
    finally:
        few.run("sysctl", "-w", f"net.ipv4.ip_local_port_range={ports}")
    assert code == 0, said
    assert "3 shards; clocks known to within " in said
    summary = control.summary()
    assert states(summary) == WHOLE
    assert (summary.scheduled, summary.dropped, summary.unfinished) == (2700, 0, 0)
    assert [one.scheduled for one in summary.shards] == [900, 900, 900]
    assert [one.failed for one in summary.shards] == [0, pytest.approx(400, abs=20), 0]
    assert summary.causes[0].cause == "ephemeral_ports_exhausted"
    assert summary.causes[0].connections == summary.failed
    for cause in summary.causes:  # the search for a port may be slow, too, before there is none
        assert [(one.shard, one.node) for one in cause.shards] == [(2, "node-2")]
    shards = [summary_in(path) for path in sorted(control.out.glob("shards/*"))]
    for name in ("scheduled", "started", "ok", "failed"):
        assert getattr(summary, name) == sum(getattr(one, name) for one in shards)
    assert summary.latency["connect"].count == sum(one.latency["connect"].count for one in shards)
    assert not (control.out / KEY_FILE).exists()


def test_an_engine_and_control_die_and_nothing_is_lost(control: Control) -> None:
    """Containers outlive their engine, and shards go on while control is away."""
    node = control.nodes.nodes[2]
    process = control.run("--duration", "4s")
    wait_until(control.begun, process)
    node.kill()
    process.kill()
    process.communicate()
    code, _, said = ended(control.start("fleet", "resume", "out"))
    node.start()
    until(node.ready, "the engine")
    until(lambda: control.nodes.states() == READY, "the node")
    assert code == 0, said
    summary = control.summary()
    assert states(summary) == WHOLE
    assert (summary.ok, summary.dropped, summary.validity) == (3600, 0, "valid")


def test_a_killed_shard_and_a_node_that_leaves_make_the_run_partial(control: Control) -> None:
    """What both had sent is kept, and the rest of their shares was not started."""
    killed, left = control.nodes.nodes[1:]
    process = control.run("--duration", "5s")
    wait_until(control.begun, process)
    killed.docker("kill", shard_on(killed))
    left.docker("swarm", "leave")
    code, _, said = ended(process)
    alone = refused(control.run("--out", "other", engine=left.socket))
    control.nodes.manager.docker("node", "rm", "--force", left.name)
    control.nodes.join(left)
    assert "is in no swarm (inactive); make one with `docker swarm init`" in alone
    assert code == 3, said
    summary = control.summary()
    assert states(summary) == [("node-1", "whole"), ("node-2", "partial"), ("node-3", "partial")]
    assert summary.scheduled == 4500
    assert [one.scheduled for one in summary.shards] == [1500, 1500, 1500]
    assert summary.drops == {"not_started": sum(one.not_started for one in summary.shards)}
    assert "shard 2 on node-2: its container is gone (" in said
    assert "shard 3 on node-3: " in said
    for one in summary.shards[1:]:
        assert one.ok > 0
        assert (control.out / one.directory / rundir.SAMPLES).stat().st_size > 0


def test_a_node_without_the_image_is_named_with_the_remedy(control: Control) -> None:
    manager = control.nodes.manager
    created = manager.docker("create", control._image).strip()
    manager.docker("commit", "--change", "LABEL only=here", created, "only-here")
    said = refused(control.run(image="only-here"))
    manager.docker("rm", created)
    manager.docker("image", "rm", "--force", "only-here")  # its containers go a little later
    assert "its node does not have the image only-here; load it there (docker save" in said
    assert not control.out.exists()


def test_an_engine_that_is_no_manager_is_refused_with_what_to_choose(control: Control) -> None:
    worker, manager = control.nodes.nodes[1], control.nodes.manager
    said = refused(control.run(engine=worker.socket))
    assert "is a worker of its swarm" in said
    assert f"choose a manager ({manager.address}:2377) with `docker context use`" in said
    nobody = f"unix://{control.folder}/nobody.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(nobody.removeprefix("unix://"))
        assert f"no Docker engine answers at {nobody}" in refused(control.run(engine=nobody))


def test_an_experiment_s_clients_are_on_every_node_under_the_arm_s_sysctls(
    control: Control, tmp_path: Path
) -> None:
    """500 ports a node are too few in one arm and enough in the other, of fresh containers each."""
    (tmp_path / "few.conf").write_text("net.ipv4.ip_local_port_range = 20000 20499\n")
    (tmp_path / "many.conf").write_text("net.ipv4.ip_local_port_range = 20000 29999\n")
    process = subprocess.Popen(
        control.nodes.control.connected(
            *(sys.executable, "-m", "lab", "run", "--testbed", "swarm", "--image", control._image),
            *(
                "--before",
                "./few.conf",
                "--after",
                "./many.conf",
                "--trials",
                "1",
                "--workers",
                "1",
            ),
            *("--rate", "1800", "--duration", "1.5s", "--max-lateness", "10s", "--out", "report"),
        ),
        cwd=tmp_path,
        env={**os.environ, "DOCKER_HOST": control.nodes.manager.socket},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    code, _, said = ended(process)
    assert code == 3, said  # one trial proves nothing
    stored = load(tmp_path / "report")
    assert len(stored.trials) == 2
    for trial in stored.trials:
        summary = trial.summary
        assert summary is not None
        assert states(summary) == WHOLE
        assert (summary.scheduled, summary.unaccounted(), summary.dropped) == (2700, 0, 0)
        wanted = "20000 20499" if trial.trial.arm == "before" else "20000 29999"
        for shard in sorted(trial.path.glob("shards/*")):
            about = read_about(shard)
            assert about is not None
            assert about.sysctls["client"]["net.ipv4.ip_local_port_range"] == wanted
        if trial.trial.arm == "before":
            assert summary.causes[0].cause == "ephemeral_ports_exhausted"
            assert [one.failed for one in summary.shards] == [pytest.approx(400, abs=20)] * 3
        else:
            assert summary.ok == 2700
        assert sum(sum(one.counts.values()) for one in trial.latencies() if one.tag == "total") > 0
    for node in control.nodes.nodes:
        left = node.docker("ps", "--all", "--quiet", "--filter", f"label={LAB}")
        assert left == ""
    assert (
        control.nodes.manager.docker("network", "ls", "--quiet", "--filter", f"label={LAB}") == ""
    )
