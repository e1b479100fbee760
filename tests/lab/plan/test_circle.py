"""Watch, plan, prove: a host that runs out of ports is recorded, and the plan for it holds in the lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadgen.sampling.namespace import run_inside
from tests.loadgen.sampling.network import SERVER, make_pair
from tests.loadgen.watch.test_live import CHURNER, accepting

RATE = 400


def run(*words: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.kernel
def test_the_circle(tmp_path: Path) -> None:
    """1,000 ports and 400/s: slow after 1.25 s, no port after 2.5 s; with the plan's lines neither."""
    pair = make_pair()
    pair.set_client("net/ipv4/ip_local_port_range", "20000 20999")
    with accepting(pair, range(11211, 11212)):
        watcher = subprocess.Popen(
            [
                *(sys.executable, "-m", "loadgen", "watch", "--interval", "100ms", "--quiet"),
                *("--netns", f"/proc/{os.getpid()}/fd/{pair.client}", "--out", "recording"),
            ],
            cwd=tmp_path,
        )
        while not list(tmp_path.glob("recording/segments/*")):
            assert watcher.poll() is None
            time.sleep(0.05)
        words = [sys.executable, str(CHURNER), "5", str(RATE), "0", f"{SERVER}:11211"]
        run_inside(pair.client, lambda: subprocess.run(words, check=True, capture_output=True))
        moments = tmp_path / "recording" / "moments.jsonl"
        while not moments.exists() or b"finds no port" not in moments.read_bytes():
            assert watcher.poll() is None
            time.sleep(0.05)
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(30) == 0
    os.close(pair.client)
    os.close(pair.server)

    code, said = run("loadgen", "report", "recording", cwd=tmp_path)
    assert code == 0, said
    assert f"connect() toward {SERVER}:11211 from 198.18.79.1 is slow" in said
    assert "100% used (1,000 of 1,000)" in said
    assert (tmp_path / "recording" / "index.html").stat().st_size > 50_000

    code, said = run("lab", "plan", "--from", "recording", "--proof", "proof", cwd=tmp_path)
    assert code == 0, said
    assert "net.ipv4.tcp_tw_reuse = 1" in said
    (command,) = [line for line in said.splitlines() if line.startswith("prove it: lab run")]
    words = command.removeprefix("prove it: ").split()
    rate = float(words[words.index("--rate") + 1])
    assert rate == pytest.approx(RATE, rel=0.25)

    more = ("--trials", "4", "--duration", "4s", "--out", "proved")
    code, said = run(*words, *more, cwd=tmp_path)
    assert code == 0, said
    assert "Prevents the failures" in said
