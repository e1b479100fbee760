"""Servers of each kind, and those of the user's own: at a site, under load, and refused."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.testbed.base import SitePlan, TestbedError
from lab.testbed.netns import NetnsTestbed, Prepare
from lab.testbed.servers import KINDS, STATUS_PATH, kind_of, require, self_signed
from loadgen.config import LoadOptions
from loadgen.errors import Exit
from loadgen.outcome import Outcome
from loadgen.run.rundir import read_summary
from loadgen.sampling.namespace import run_inside
from loadgen.summary import Summary

_GREETER = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=4096)
while True:
    connection, _ = listener.accept()
    with connection:
        try:
            connection.sendall(b"220 hello")
            connection.recv(100)
        except OSError:
            pass
"""


def greeter(python: str) -> str:
    """Return the command of a server that says 220 and hangs up when it is answered."""
    return shlex.join([python, "-c", _GREETER, "{address}", "{port}"])


@pytest.mark.parametrize(
    ("server", "url", "message"),
    [
        ("mysql", "", "'mysql' is none of memcached, redis, nginx; a command of your own says"),
        ("", "", "is none of memcached"),
        ("my-server --port {port}", "", "there is no command 'my-server'"),
        ("sh 'x {port}", "", "No closing quotation"),
        ("sh {port}", "gopher://{address}", "--server-url: gopher:// is not spoken"),
        ("redis", "tcp://{address}:{port}", "--server-url is for a --server COMMAND"),
    ],
)
def test_what_cannot_be_started_is_refused_before_any_trial(
    server: str, url: str, message: str
) -> None:
    with pytest.raises(TestbedError) as caught:
        require(kind_of(SitePlan(server=server, server_url=url)))
    assert message in str(caught.value)


def test_a_server_is_called_by_what_it_speaks() -> None:
    targets = {name: kind.target("198.19.0.1") for name, kind in KINDS.items()}
    assert targets == {
        "memcached": "198.19.0.1:11211",
        "redis": "redis://198.19.0.1:6379",
        "nginx": "http://198.19.0.1:80",
    }
    assert kind_of(SitePlan(server="sh {port}")).target("198.19.0.1") == "tcp://198.19.0.1:8080"


async def load(
    plan: SitePlan,
    options: LoadOptions,
    directory: Path,
    *,
    prepare: Prepare | None = None,
) -> Summary:
    """Run the load at a site of the plan, and return its summary."""
    log = directory / "log"
    async with NetnsTestbed().site(plan, prepare) as site:
        words = [*site.targets, *options.arguments(), "--quiet", "--out", str(directory / "run")]
        code = await site.loadgen(words, log)
    summary = read_summary(directory / "run")
    assert summary is not None, log.read_text()
    assert code == Exit.PASS, log.read_text()
    return summary


@pytest.mark.kernel
@pytest.mark.parametrize("server", KINDS)
async def test_each_kind_answers_and_says_what_it_saw(server: str, tmp_path: Path) -> None:
    path = STATUS_PATH.get(server, "")
    options = LoadOptions(rate=500.0, duration=0.4, max_lateness=20.0, status_path=path)
    summary = await load(SitePlan(server=server, servers=2), options, tmp_path)
    assert summary.outcomes == {Outcome.OK: 200}
    assert summary.replies == {"2xx" if server == "nginx" else "hit": 200}
    assert summary.config.protocol == {"nginx": "http"}.get(server, server)
    assert summary.kernel["server"][f"{server}_up"].last == 2


@pytest.mark.kernel
@pytest.mark.parametrize("server", KINDS)
async def test_the_first_loss_is_the_same_whatever_answers(server: str, tmp_path: Path) -> None:
    """200 ports and no reuse: the kernel's limit, not the server's."""

    def few(client: int, _: int) -> None:
        def write() -> None:
            for name, value in (("ip_local_port_range", "40000 40199"), ("tcp_tw_reuse", "0")):
                Path("/proc/sys/net/ipv4", name).write_text(value)

        run_inside(client, write)

    options = LoadOptions(rate=500.0, duration=0.6, max_lateness=20.0)
    summary = await load(SitePlan(server=server), options, tmp_path, prepare=few)
    assert summary.outcomes == {Outcome.OK: 200, Outcome.LOCAL_PORT_EXHAUSTED: 100}
    assert summary.causes[0].cause == "ephemeral_ports_exhausted"


@pytest.mark.kernel
@pytest.mark.parametrize("server", KINDS)
async def test_each_kind_speaks_tls(server: str, tmp_path: Path) -> None:
    """And leaves TIME_WAIT on the client or not, as docs/protocols.md says of it."""
    plan = SitePlan(server=server, certificate=self_signed())
    options = LoadOptions(
        rate=200.0, duration=0.3, max_lateness=20.0, tls=True, tls_insecure=True, timeout=20.0
    )
    summary = await load(plan, options, tmp_path)
    assert summary.replies == {"2xx" if server == "nginx" else "hit": 60}
    assert summary.generator.tls is not None
    assert summary.generator.tls.handshakes == 60
    kept = summary.kernel["client"]["sockstat_TCP_tw"].last
    assert kept == pytest.approx(60 if server == "nginx" else 0, abs=5)


def test_a_command_finds_the_certificate_in_a_file() -> None:
    plan = SitePlan(server="sh {port} --tls {certificate}", certificate="PEM")
    with ExitStack() as stack:
        *words, file = kind_of(plan).command(plan, "198.19.0.1", stack)
        assert words == ["sh", "8080", "--tls"]
        assert Path(file).read_text() == "PEM"
    assert not Path(file).exists()


@pytest.mark.kernel
async def test_a_command_of_one_s_own(tmp_path: Path) -> None:
    options = LoadOptions(rate=200.0, duration=0.4, max_lateness=20.0, expect="220 ")
    summary = await load(SitePlan(server=greeter(sys.executable)), options, tmp_path)
    assert summary.replies == {"expected": 80}


@pytest.mark.kernel
async def test_a_command_that_ends_says_why() -> None:
    plan = SitePlan(server="sh -c 'echo cannot listen on {port}; exit 3'")
    with pytest.raises(TestbedError, match=r"sh at 198\.19\.0\.1:8080 ended with 3: cannot listen"):
        async with NetnsTestbed().site(plan):
            pytest.fail("the site must not be handed out")
