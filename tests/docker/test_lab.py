"""`lab run --testbed docker`, for real, and everything around it."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lab.analysis.store import Stored, load
from lab.testbed.docker.engine import Engine
from lab.testbed.host.journal import JournalPlace
from loadgen.fleet.engine import endpoint
from tests.docker.conftest import IMAGE, docker, ended, lab, left_by

FEW = "net.ipv4.ip_local_port_range = 20000 20599\n"
MANY = "net.ipv4.ip_local_port_range = 20000 23999\nnet.ipv4.tcp_tw_reuse = 1\n"
DEADLINE = 120.0
"""Seconds; everything waited for here takes a few on an idle machine."""
MAX = "net.netfilter.nf_conntrack_max"

pytestmark = pytest.mark.usefixtures("image")


@pytest.fixture
def tunings(tmp_path: Path) -> Path:
    """A folder with few.conf and many.conf."""
    (tmp_path / "few.conf").write_text(FEW)
    (tmp_path / "many.conf").write_text(MANY)
    return tmp_path


def run(cwd: Path, testbed: str, *options: str) -> subprocess.Popen[str]:
    image = ("--image", IMAGE) if testbed == "docker" else ()
    arms = ("--before", "./few.conf", "--after", "./many.conf")
    load_options = ("--max-lateness", "10s", "--timeout", "10s")
    return lab("run", "--testbed", testbed, *image, *arms, *load_options, *options, cwd=cwd)


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def first_loss(stored: Stored) -> float:
    """Return the median number of connections before the first loss in the first arm."""
    return statistics.median(
        trial.summary.started_before_first_failure or 0
        for trial in stored.trials
        if trial.trial.arm == "before" and trial.summary is not None
    )


def test_both_testbeds_come_to_the_same_verdict_cause_and_number(tunings: Path) -> None:
    options = ("--rate", "1000", "--duration", "1s", "--trials", "4")
    found = {}
    for testbed in ("docker", "netns"):
        process = run(tunings, testbed, *options, "--out", testbed)
        code, _, err = ended(process)
        assert code == 0, err
        if testbed == "docker":
            assert left_by(process.pid) == []
        found[testbed] = load(tunings / testbed)
        comparison = json.loads((tunings / testbed / "comparison.json").read_text())
        assert comparison["verdict"] == "prevents"
        for trial in found[testbed].trials:
            assert trial.summary is not None
            assert trial.summary.unaccounted() == 0
            if trial.trial.arm == "before":
                assert trial.summary.causes[0].cause == "ephemeral_ports_exhausted"
                assert trial.summary.ok == pytest.approx(600, rel=0.02)
    assert first_loss(found["docker"]) == pytest.approx(first_loss(found["netns"]), rel=0.02)
    stored = found["docker"]
    for record in stored.experiment.trials:
        wanted = "20000 20599" if record.arm == "before" else "20000 23999"
        for role in ("client", "server"):
            assert record.sysctls[role]["net.ipv4.ip_local_port_range"] == wanted
    assert stored.experiment.baseline["client"]["net.ipv4.tcp_tw_reuse"] == "2"
    summary = stored.trials[0].summary
    assert summary is not None
    assert summary.kernel["client"]["nf_conntrack_entries"].max >= 500
    assert "nf_conntrack_entries" in summary.kernel["host"]


def test_faults_several_servers_and_several_addresses(tunings: Path) -> None:
    faults = [
        "disconnect server-1 at 0.4s",
        "reconnect server-1 at 1s",
        "pause server-3 at 0.4s",
        "restart server-2 at 0.8s",
        "kill server-2 at 1.6s",
    ]
    options = [option for fault in faults for option in ("--fault", fault)]
    options += ["--rate", "300", "--duration", "3.5s", "--trials", "1", "--timeout", "1s"]
    process = run(
        tunings, "docker", *options, "--servers", "3", "--clients", "2", "--out", "report"
    )
    code, _, err = ended(process)
    assert code == 3, err  # one trial proves nothing
    stored = load(tunings / "report")
    for trial in stored.trials:
        assert [done.fault for done in trial.trial.faults] == sorted(
            faults, key=lambda fault: float(fault.split()[-1].removesuffix("s"))
        )
        assert [done.error for done in trial.trial.faults] == [""] * len(faults)
        moments = [done.at or 0.0 for done in trial.trial.faults]
        assert moments[0] >= 0.4
        assert moments[-1] >= 1.6
        assert trial.summary is not None
        assert len(trial.summary.config.addresses) == 3
        assert len(trial.summary.config.source_addresses) == 2
        assert trial.summary.ok > 0
        assert trial.summary.failed > 0
    assert left_by(process.pid) == []


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            "\nnet.ipv4.tcp_tw_reuse = 7\n",
            (),
            "error: after arm: ./bad.conf:2: net.ipv4.tcp_tw_reuse: the kernel rejects '7'",
        ),
        (
            "net.ipv4.tcp_tw_reus = 1\n",
            (),
            "error: after arm: ./bad.conf:1: net.ipv4.tcp_tw_reus: this kernel has no such key",
        ),
        (
            "",
            ("--image", "no-such-image"),
            "error: docker: there is no image no-such-image; docker",
        ),
    ],
)
def test_what_cannot_be_is_one_line_before_any_load(
    text: str, options: tuple[str, ...], said: str, tunings: Path
) -> None:
    (tunings / "bad.conf").write_text(text)
    process = run(tunings, "docker", "--after", "./bad.conf", *options, "--out", "report")
    code, _, err = ended(process)
    assert code == 2
    assert err.startswith(said)
    assert len(err.splitlines()) == 1
    assert left_by(process.pid) == []


def _client_runs(pid: int) -> bool:
    return any(one.name.endswith("-client") for one in left_by(pid))


def _number(*command: str) -> int:
    """Return the number that a docker command prints; 0 while it fails."""
    done = subprocess.run(["docker", *command], capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else 0


def test_ctrl_c_keeps_what_was_measured_and_leaves_nothing(tunings: Path) -> None:
    options = ("--rate", "100", "--duration", "60s", "--trials", "2", "--out", "report")
    process = run(tunings, "docker", *options)
    until(lambda: _client_runs(process.pid), "no trial began")
    (client,) = (one.name for one in left_by(process.pid) if one.name.endswith("-client"))
    samples = ("exec", client, "grep", "-c", "generator_ok", "/runs/run/samples.jsonl")
    until(lambda: _number(*samples) >= 5, "no load to be kept")
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130, err
    assert "Traceback" not in err
    assert left_by(process.pid) == []
    summary = json.loads((tunings / "report/trials/01-before/summary.json").read_text())
    assert summary["validity"] == "partial"
    assert summary["ok"] > 0


@pytest.mark.skipif(
    not Path("/proc/sys/net/netfilter/nf_conntrack_max").exists(),
    reason="conntrack is not loaded here",
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the host's settings")
def test_kill_9_while_the_host_is_changed(tunings: Path) -> None:
    """The guardian puts the value back, `lab doctor` sees what else is left, `lab restore` takes it."""
    place = JournalPlace()
    old = place.get(MAX)
    wanted = str(int(old) + 1000)
    for name in ("few", "many"):
        with (tunings / f"{name}.conf").open("a") as file:
            file.write(f"{MAX} = {wanted}\n")
    options = ("--rate", "100", "--duration", "60s", "--trials", "2", "--allow-host-sysctls")
    process = run(tunings, "docker", *options, "--out", "report")
    try:
        until(lambda: _client_runs(process.pid) or process.poll() is not None, "no trial began")
        assert place.get(MAX) == wanted
        process.kill()
        until(lambda: place.get(MAX) == old, "the value did not come back")
    finally:
        process.kill()
        process.communicate()
        if place.get(MAX) != old:
            place.set(MAX, old)
    left = left_by(process.pid)
    assert {one.kind for one in left} == {"container", "network", "volume"}
    code, out, err = ended(lab("doctor", cwd=tunings))
    assert code == 0, err
    assert "containers, networks and volumes of labs that are gone" in " ".join(out.split())
    code, out, err = ended(lab("restore", cwd=tunings))
    assert code == 0, err
    assert "host settings: nothing to restore" in out
    for one in left:
        assert f"removed: {one.kind} {one.name}" in out
    assert left_by(process.pid) == []


def test_a_lab_that_runs_is_left_alone_by_restore(tunings: Path) -> None:
    options = ("--rate", "100", "--duration", "60s", "--trials", "2", "--out", "report")
    process = run(tunings, "docker", *options)
    try:
        until(lambda: _client_runs(process.pid), "no trial began")
        code, out, err = ended(lab("restore", cwd=tunings))
        assert code == 0, err
        assert "of a lab that is running" in out
        assert _client_runs(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        ended(process)
    assert left_by(process.pid) == []


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """The engine once more, at a TCP port, as if it were another machine's."""
    path = endpoint().removeprefix("unix://")

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                inner, _ = listener.accept()
                outer = socket.socket(socket.AF_UNIX)
                outer.connect(path)
                links.extend((inner, outer))
                for pair in ((inner, outer), (outer, inner)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    links: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for link in links:
        link.close()


def test_a_trial_on_the_engine_of_a_context(
    tunings: Path, elsewhere: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not endpoint().startswith("unix://"):
        pytest.skip("the engine is elsewhere already")
    monkeypatch.setenv("DOCKER_CONFIG", str(tunings / "docker"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    create = ["context", "create", "far", "--docker", f"host=tcp://127.0.0.1:{elsewhere}"]
    docker(*create)
    docker("context", "use", "far")
    assert endpoint() == f"tcp://127.0.0.1:{elsewhere}"
    options = ("--rate", "100", "--duration", "500ms", "--trials", "1", "--out", "report")
    code, _, err = ended(run(tunings, "docker", *options))
    assert code == 3, err
    for trial in load(tunings / "report").trials:
        assert trial.summary is not None
        assert trial.summary.ok == 50


def test_the_doctor_finds_engine_image_and_compose(tunings: Path) -> None:
    code, out, err = ended(lab("doctor", "--json", "-", cwd=tunings))
    assert code == 0, err
    found = {check["name"]: check for check in json.loads(out)["checks"]}
    assert found["engine"]["state"] == "ok"
    assert found["compose"]["state"] == "ok"
    with closing(Engine()) as engine:
        assert engine.about["Version"] in found["engine"]["found"]
