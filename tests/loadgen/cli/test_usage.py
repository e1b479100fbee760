"""Wrong input: exit 2, exactly one line that names the offender, no traceback, nothing left."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loadgen import __version__
from tests.loadgen.cli.command import loadgen

Done = subprocess.CompletedProcess[str]


CASES: list[tuple[list[str], str]] = [
    (["run", "--nonsense"], "--nonsense"),
    (["run", "--json", "/proc/x"], "cannot write /proc/x: No such file"),
    (["run", "--junit", "nowhere/x.xml"], "nowhere/x.xml: there is no directory nowhere"),
    (["run", "--json", "x" * 300], "File name too long"),
    (["run", "--seed", "9" * 30], "'--seed'"),
    (["run", "--rate", "0"], "'0': a rate is above 0"),
    (["run", "--rate", "fast"], "'fast' is not a rate"),
    (["run", "--rate", "auto"], "'--rate': auto is the lab's"),
    (["run", "--rate", "max", "--schedule", "poisson"], "--rate max is the closed loop"),
    (["run", "--rate", "5", "--schedule", "ramp:1-9"], "brings its own rates"),
    (["run", "--schedule", "linear"], "'linear' is not a schedule"),
    (["run", "--schedule", "steps:1,x"], "'x' in 'steps:1,x' is not a rate"),
    (["run", "--duration", "soon"], "'soon' is not a duration"),
    (["run", "--duration", "0s"], "'0s': a duration must be above 0"),
    (["run", "--warmup", "-1s"], "'-1s' is not a duration"),
    (["run", "--op", "delete"], "'delete' is not an operation"),
    (["run", "redis://127.0.0.1", "--op", "mg"], "'mg' is not an operation of redis"),
    (["run", "tcp://127.0.0.1:1", "--op", "get"], "--op get means nothing to tcp"),
    (["run", "gopher://127.0.0.1"], "gopher:// is not spoken here"),
    (["run", "redis://127.0.0.1", "http://127.0.0.1"], "targets mix http and redis"),
    (["run", "redis://:a@127.0.0.1", "redis://:b@127.0.0.1"], "differ in user or password"),
    (["run", "redis://:a%0ab@127.0.0.1"], "without control characters"),
    (["run", "tcp://:a@127.0.0.1:1"], "tcp:// has no users and passwords"),
    (["run", "--send", "x"], "--send and --expect are for tcp:// targets"),
    (["run", "tcp://127.0.0.1:1", "--send", "\\q"], "after a backslash comes"),
    (["run", "tcp://127.0.0.1:1", "--send", "@/nowhere"], "--send: cannot read '/nowhere'"),
    (["run", "tcp://127.0.0.1:1", "--send", "@/dev/zero"], "--send: more than 1,000,000 bytes"),
    (["run", "tcp://127.0.0.1:1", "--requests-per-connection", "2"], "take --expect"),
    (["run", "--http-host", "x"], "--http-host is for http:// targets"),
    (["run", "http://127.0.0.1", "--http-host", "a b"], "'a b' is not a host name"),
    (["run", "--status-path", "/x"], "--status-path is for http:// targets"),
    (["run", "http://127.0.0.1", "--status-path", "x"], "'x' is not a path"),
    (["run", "--password-file", "/nowhere"], "--password-file: cannot read /nowhere"),
    (["run", "--password-file", "/dev/null"], "/dev/null holds no password"),
    (["run", "--client", "pymemcache", "redis://127.0.0.1"], "pymemcache speaks memcached only"),
    (["run", "--client", "pymemcache", "--op", "mg"], "pymemcache has no mg"),
    (["run", "--tls-insecure"], "options of TLS without it: add --tls"),
    (["run", "--tls", "--tls-ca", "/nowhere"], "--tls-ca: cannot use /nowhere: No such file"),
    (["run", "--tls", "--tls-ca", "/dev/null"], "--tls-ca: cannot use /dev/null"),
    (["run", "--tls", "--tls-name", "ä"], "'ä' is not a name for a certificate"),
    (["run", "--tls", "--client", "pymemcache"], "pymemcache speaks no TLS"),
    (["run", "redis://127.0.0.1", "rediss://127.0.0.1"], "targets mix redis and rediss"),
    (["run", "--close", "politely"], "politely"),
    (["run", "--workers", "0"], "'0' is not a number of workers"),
    (["run", "--workers", "²"], "'²' is not a number of workers"),
    (["run", "--shard", "3/2"], "'3/2' is not a shard"),
    (["run", "--local-port-range", "9-1"], "'9-1' is not a port range"),
    (["run", "--requests-per-connection", "0"], "--requests-per-connection"),
    (["run", "--client", "pymemcache", "--close", "server"], "always closes first"),
    (["run", "--source-ip", "192.0.2.7"], "source 192.0.2.7 is not an address of this host"),
    (["run", "--source-ip", "eth0"], "source 'eth0' is not an IP address"),
    (["run", "--source-ip", "::1"], "source ::1 and the targets mix IPv4 and IPv6"),
    (["run", "192.0.2.1:80"], "add --allow-target 192.0.2.1/32"),
    (["run", "a b:1"], "'a b:1' is not a target"),
    (["run", "127.0.0.1:0"], "port must be a number from 1 to 65535"),
    (["run", "a..b:1"], "target a..b:1 does not resolve"),
    (["watch", "a..b:1", "--once"], "target a..b:1 does not resolve"),
    (["run", "--allow-target", "home"], "'home' is not a network"),
    (["run", "--netns", "no-such-namespace"], "no network namespace 'no-such-namespace'"),
    (
        ["run", "--netns", "bridge=x"],
        "the role is one of client, server, router, nat, proxy, host or client",
    ),
    (["run", "--netns", "1", "--netns", "server=1"], "has a namespace already"),
    (["run", "--start-at", "1"], "--start-at '1' has passed"),
    (["run", "--start-at", "nan"], "is not a time within the next"),
    (["run", "--start-at", "inf"], "is not a time within the next"),
    (["run", "--start-at", "1e308"], "is not a time within the next"),
    (["run", "--start-at", "9999-12-31T23:59:59"], "is not a time within the next"),
    (["run", "--start-at", "0001-01-01T00:00:00+14:00"], "has passed"),
    (["run", "--warmup", "9e18"], "is not a duration"),
    (["run", "--warmup", "9" * 400], "is too long: at most"),
    (["run", "--shard", f"1/{10**23}"], "is not a shard"),
    (["run", "--allow-target", "8.8.8.8/0.0.0.255"], "is not a network: write ADDRESS/PREFIX"),
    (["run", "--allow-target", "8.8.8.8/0.0.0.0"], "is not a network: write ADDRESS/PREFIX"),
    (["run", "--start-at", "noon"], "--start-at 'noon' is not a time"),
    (
        ["run", "--fleet", "wait", "--fleet-network", "n"],
        "--fleet-network is a network of a swarm's",
    ),
    (
        ["run", "--fleet", "swarm", "--fleet-sysctl", "net.ipv4.tcp_tw_reuse=1"],
        "shards share their node's; give --fleet-network too",
    ),
    (["run", "--fleet", "wait"], "--fleet wait needs --shards N and --collector HOST:PORT"),
    (["run", "--fleet", "swarm", "--netns", "web1"], "--netns names a namespace of this machine"),
    (["run", "--fleet", "swarm", "--shard", "1/2"], "--shard is given to each shard by the fleet"),
    (["run", "--fleet", "swarm", "--start-at", "1"], "--start-at is what a fleet agrees on"),
    (["run", "--collector", "here"], "'here' is not an address to be reached at"),
    (
        [
            *("fleet", "shard", "--collector", "127.0.0.1:1", "--seat", "0"),
            *("--fleet-key", "no-such-key"),
        ],
        "cannot read the fleet's key no-such-key",
    ),
    (["run", "--json", "no/such/file"], "no/such/file"),
    (["run", "--junit", "no/such/file"], "no/such/file"),
    (["sprint"], "sprint"),
    (["report", "no-such-run"], "no-such-run"),
    (["merge", "no-such-run"], "no-such-run"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Done, Path]]:
    """The result of each command line, and where it ran: all at once, a process for each CPU."""

    def run(arguments: list[str]) -> tuple[Done, Path]:
        where = tmp_path_factory.mktemp("usage")
        return loadgen(*arguments, cwd=where), where

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(run, (arguments for arguments, _ in CASES)))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[" ".join(case[0]) for case in CASES])
def test_one_line_says_what_is_wrong(answers: list[tuple[Done, Path]], number: int) -> None:
    done, where = answers[number]
    assert done.returncode == 2
    assert CASES[number][1] in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    assert done.stdout == ""
    assert list(where.iterdir()) == []


def test_a_bad_threshold_is_one_line_that_points_at_the_place(tmp_path: Path) -> None:
    done = loadgen("run", "--threshold", "failed: p(99) == 0", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: failed has no 'p(99)'")
    assert line.endswith("; at character 9 of 'failed: p(99) == 0'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["run.json", "samples.jsonl", "latency.hlog"])
def test_an_existing_run_is_never_written_over(name: str, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / name).write_text("mine")
    done = loadgen("run", "--out", "old", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "error: old holds a run already; give another --out\n",
    )
    assert (tmp_path / "old" / name).read_text() == "mine"


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = loadgen("run", "--out", "file", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_help_and_version(tmp_path: Path) -> None:
    assert loadgen("--version", cwd=tmp_path).stdout.split()[-1] == __version__
    done = loadgen("--help", cwd=tmp_path)
    assert done.returncode == 0
    for verb in ("run", "watch", "merge", "report"):
        assert f"  {verb} " in done.stdout
