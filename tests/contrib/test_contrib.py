"""What is in contrib/ is valid, and asks for what `loadgen watch --listen` really serves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from loadgen.metrics import CATALOGUE
from loadgen.sampling.namespace import run_inside
from loadgen.watch.openmetrics import WHO, exported_name
from tests.loadgen.cli.command import start
from tests.loadgen.sampling.network import Pair, make_pair

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"
PROMETHEUS = CONTRIB / "prometheus"
DASHBOARD: dict[str, Any] = json.loads((CONTRIB / "grafana" / "churnlab.json").read_text())
QUERIES = [
    target["expr"].replace('{instance=~"$instance"}', "")
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]
QUIET = {"slow_in", "exhausted_in", "owner_connections", "filefd"}
"""Parts of queries that may have nothing to show: what will not happen, and what nobody holds."""
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: apt install prometheus"
)


def test_every_metric_that_is_asked_for_is_served() -> None:
    names = {exported_name(metric) for metric in CATALOGUE} | {f"churnlab_{name}" for name in WHO}
    names.add("churnlab_ephemeral_ports_in_use_limit")
    asked = {
        name
        for text in (*QUERIES, (PROMETHEUS / "churnlab.rules.yml").read_text())
        for name in re.findall(r"\b(?:node|churnlab)_[a-zA-Z0-9_]+", text)
    }
    assert len(asked) > 20
    assert asked <= names


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", "churnlab.rules.yml"],
        ["test", "rules", "churnlab.test.yml"],
        ["check", "config", "prometheus.yml"],
    ],
    ids=" ".join,
)
def test_promtool_agrees(arguments: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def churned() -> Iterator[Pair]:
    """A namespace with tracked connections, 300 of them in TIME_WAIT, of 1,000 ports."""
    pair = make_pair()
    pair.set_client("net/ipv4/ip_local_port_range", "20000 20999")
    rule = "add table ip t; add chain ip t c { type filter hook output priority 0; }; "
    rule += "add rule ip t c ct state new accept"
    run_inside(pair.client, lambda: subprocess.run(["nft", rule], check=True))
    with pair.listen() as listener:
        pair.churn(listener, 300)
        yield pair
    os.close(pair.client)
    os.close(pair.server)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def ask(port: int, query: str) -> list[Any]:
    """Return what Prometheus answers to a query; a query that it does not understand raises."""
    words = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}/api/v1/query?{words}", timeout=10
    ) as said:
        answer = json.load(said)
    assert answer["status"] == "success"
    found: list[Any] = answer["data"]["result"]
    return found


@needs_promtool
@pytest.mark.kernel
def test_a_real_prometheus_scrapes_and_answers(churned: Pair, tmp_path: Path) -> None:
    """The dashboard's queries and the rules, on a scrape of a namespace that was used."""
    watcher = start(
        *("watch", "--netns", f"/proc/{os.getpid()}/fd/{churned.client}", "--interval", "200ms"),
        *("--listen", "127.0.0.1:0", "--quiet"),
        cwd=tmp_path,
    )
    assert watcher.stderr is not None
    place = watcher.stderr.readline().split("//")[1].split("/")[0]
    config = (PROMETHEUS / "prometheus.yml").read_text()
    config = config.replace("127.0.0.1:9464", place).replace("5s", "500ms").replace("15s", "500ms")
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(PROMETHEUS / "churnlab.rules.yml", tmp_path)
    port = free_port()
    with ExitStack() as stack:
        stack.callback(watcher.communicate)
        stack.callback(watcher.send_signal, signal.SIGTERM)
        log = stack.enter_context((tmp_path / "log").open("w"))
        server = subprocess.Popen(
            [
                "prometheus", f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        stack.callback(server.wait)
        stack.callback(server.terminate)
        waiting = {query for query in QUERIES if not any(part in query for part in QUIET)}
        give_up = time.monotonic() + 60
        while waiting and time.monotonic() < give_up:
            assert server.poll() is None, (tmp_path / "log").read_text()
            with suppress(OSError):
                waiting = {query for query in waiting if not ask(port, query)}
            time.sleep(0.2)
        assert not waiting
        for query in QUERIES:
            ask(port, query)
        (held,) = ask(port, "churnlab_ephemeral_ports_in_use")
        assert (held["metric"]["port"], held["value"][1]) == ("11211", "300")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/rules", timeout=10) as said:
            (group,) = json.load(said)["data"]["groups"]
        assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}


def test_the_dashboard_s_panels_have_their_own_places() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)


@pytest.mark.parametrize(
    ("file", "start_of_command"),
    [
        (CONTRIB / "systemd" / "churnlab-watch.service", "ExecStart=/usr/local/bin/loadgen "),
        (CONTRIB / "compose" / "compose.yaml", "      [loadgen, "),
    ],
)
def test_the_commands_are_understood(file: Path, start_of_command: str, tmp_path: Path) -> None:
    """What the unit and the compose file run, for 100 ms and on a free port, in a folder of ours."""
    line = next(line for line in file.read_text().splitlines() if line.startswith(start_of_command))
    words = (
        line.removeprefix(start_of_command).rstrip("]").replace(",", "").replace('"', "").split()
    )
    words = [f"127.0.0.1:{free_port()}" if ":9464" in word else word for word in words]
    words[words.index("--out") + 1] = str(tmp_path / "recording")
    process = start(*words, "--duration", "100ms", cwd=tmp_path)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert (tmp_path / "recording" / "segments").is_dir()
