"""Who it is, where it counts: two programs in two real containers, three destinations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lab.testbed.docker.orders import LABEL
from tests.docker.conftest import docker, inspect

RATE = float(os.environ.get("CHURNLAB_TEST_WATCH_RATE", "300"))
"""Connections a second, all together; the test is the same at thousands on an idle machine."""
REQUESTS = max(1, int(6_000 / RATE))
"""On each: rare connections live long enough to be seen, as many short ones are seen by their number."""
SECONDS = 6
SUBNET, SERVER = "198.18.197.0/24", "198.18.197.2"
PORTS = (11211, 11212, 11213)


@pytest.fixture
def containers(image: str) -> Iterator[dict[str, str]]:
    """Ids of two clients in one network namespace, and that namespace's process."""
    with ExitStack() as stack:

        def up(*words: str) -> str:
            number = docker("run", "--detach", "--label", f"{LABEL}=test", *words).strip()
            stack.callback(docker, "rm", "--force", "--volumes", number)
            return number

        net = docker(
            "network", "create", "--internal", "--subnet", SUBNET, "--label", LABEL, "watched"
        )
        stack.callback(docker, "network", "rm", net.strip())
        serve = " & ".join(f"memcached -t 1 -c 16000 -b 4096 -p {port}" for port in PORTS)
        up("--network", "watched", "--ip", SERVER, image, "sh", "-c", serve)
        few = ("--sysctl", "net.ipv4.ip_local_port_range=1024 65535")
        first = up("--network", "watched", *few, image, "sleep", "120")
        second = up("--network", f"container:{first}", image, "sleep", "120")
        pid = str(inspect(first)[0]["State"]["Pid"])
        yield {"first": first, "second": second, "pid": pid}


def churn(container: str, rate: float, ports: tuple[int, ...]) -> subprocess.Popen[bytes]:
    words = [
        *("loadgen", "run", "--quiet", "--rate", f"{rate:g}", "--duration", f"{SECONDS}s"),
        *(
            "--workers",
            "1",
            "--requests-per-connection",
            "20",
            "--max-lateness",
            "10s",
            "--out",
            "/tmp/run",
        ),
        *(f"{SERVER}:{port}" for port in ports),
    ]
    return subprocess.Popen(["docker", "exec", container, *words], stdout=subprocess.DEVNULL)


def test_two_containers_toward_three_destinations(
    containers: dict[str, str], tmp_path: Path
) -> None:
    churner = churn(containers["first"], RATE * 2 / 3, PORTS[:2])
    other = churn(containers["second"], RATE / 3, PORTS[2:])
    with (tmp_path / "lines").open("wb") as lines:
        subprocess.run(
            [
                *(sys.executable, "-m", "loadgen", "watch", "--json", "--interval", "500ms"),
                *("--duration", f"{SECONDS}s", "--netns", containers["pid"]),
            ],
            stdout=lines,
            check=True,
        )
    assert (churner.wait(60), other.wait(60)) == (0, 0)
    read = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    loaded = [line for line in read if line["who"] and line["who"]["rate"] and line["t"] > 3]
    assert loaded, "sockets were never counted under load"

    for line in loaded:
        waiting = sum(one["time_wait"] for one in line["who"]["destinations"])
        values: dict[str, Any] = line["values"]
        # What is counted and what the kernel counts are read one after the other.
        meanwhile = RATE * 0.2
        assert waiting == pytest.approx(values["sockstat_TCP_tw"], rel=0.01, abs=meanwhile)
    last = loaded[-1]["who"]
    assert {one["port"] for one in last["destinations"]} == set(PORTS)
    assert last["rate"] == pytest.approx(rate_of(read), rel=0.1)

    # A socket that was gone before its process was looked up is its container's, and no process's.
    rates: Counter[str] = Counter()
    used: defaultdict[str, set[str]] = defaultdict(set)
    for one in last["owners"]:
        rates[one["container"]] += one["rate"]
        used[one["container"]] |= set(one["destinations"])
    first, second = (containers[name][:12] for name in ("first", "second"))
    assert used == {
        first: {f"{SERVER}:{port}" for port in PORTS[:2]},
        second: {f"{SERVER}:{PORTS[2]}"},
    }
    assert rates[first] == pytest.approx(2 * rates[second], rel=0.1)
    assert rates.total() == pytest.approx(last["rate"], rel=0.01)


def rate_of(lines: list[dict[str, Any]]) -> float:
    """Return the kernel's own count of connections opened, a second, at the load's height."""
    rates: list[float] = [
        (b["values"]["netstat_Tcp_ActiveOpens"] - a["values"]["netstat_Tcp_ActiveOpens"])
        / (b["t"] - a["t"])
        for a, b in pairwise(lines[4:])
    ]
    return max(rates)
