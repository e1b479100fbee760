"""Servers of each kind in containers of the lab's image: at a site, under load, and refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab.sysctl.tuning import parse
from lab.testbed.base import SitePlan, TestbedError, Tuned
from lab.testbed.docker.testbed import DockerTestbed
from lab.testbed.servers import self_signed
from loadgen.config import LoadOptions
from loadgen.outcome import Outcome
from loadgen.run.rundir import read_summary
from tests.lab.testbed.test_servers import greeter

FEW = "net.ipv4.ip_local_port_range = 40000 40199\nnet.ipv4.tcp_tw_reuse = 0\n"


@pytest.fixture
def testbed(image: str) -> Iterator[DockerTestbed]:
    with closing(DockerTestbed(image)) as made:
        yield made


@pytest.mark.parametrize(
    ("server", "expect", "reply", "taken"),
    [
        ("redis", "", "hit", 1),
        ("nginx", "", "2xx", 0),
        (greeter("python3"), "220 ", "expected", 0),
    ],
    ids=["redis", "nginx", "command"],
)
async def test_the_first_loss_is_the_ports_number_whatever_answers(
    server: str, expect: str, reply: str, taken: int, testbed: DockerTestbed, tmp_path: Path
) -> None:
    """200 ports and no reuse; Redis is asked for its statistics over one of them."""
    tuned = Tuned(parse(FEW, name="few", source="few"), "before")
    options = LoadOptions(rate=500.0, duration=0.6, max_lateness=20.0, expect=expect)
    log = tmp_path / "log"
    async with testbed.site(SitePlan(server=server), tuned=tuned) as site:
        words = [*site.targets, *options.arguments(), "--quiet", "--out", str(tmp_path / "run")]
        await site.loadgen(words, log)
        assert site.applied["server"].in_force["net.ipv4.tcp_tw_reuse"] == "0"
    summary = read_summary(tmp_path / "run")
    assert summary is not None, log.read_text()
    ok = 200 - taken
    assert summary.outcomes == {Outcome.OK: ok, Outcome.LOCAL_PORT_EXHAUSTED: 300 - ok}
    assert summary.replies == {reply: ok}
    assert summary.causes[0].cause == "ephemeral_ports_exhausted"
    assert summary.kernel["server"]["listen_queue"].last == 0


async def test_tls_in_a_container(testbed: DockerTestbed, tmp_path: Path) -> None:
    options = LoadOptions(
        rate=100.0, duration=0.3, max_lateness=20.0, tls=True, tls_insecure=True, timeout=20.0
    )
    async with testbed.site(SitePlan(certificate=self_signed())) as site:
        words = [*site.targets, *options.arguments(), "--quiet", "--out", str(tmp_path / "run")]
        await site.loadgen(words, tmp_path / "log")
    summary = read_summary(tmp_path / "run")
    assert summary is not None, (tmp_path / "log").read_text()
    assert (summary.outcomes, summary.replies) == ({Outcome.OK: 30}, {"hit": 30})
    assert summary.generator.tls is not None
    assert summary.generator.tls.handshakes == 30


async def test_a_command_that_the_image_does_not_have(testbed: DockerTestbed) -> None:
    plan = SitePlan(server="my-own --port {port}")
    with pytest.raises(TestbedError) as caught:
        async with testbed.site(plan):
            pytest.fail("the site must not be handed out")
    assert "ended: error: --server: there is no command 'my-own' in this image" in str(caught.value)
