"""Sites of network namespaces, on the real kernel with real memcached."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from lab.testbed import netns, servers
from lab.testbed.base import SitePlan, TestbedError
from lab.testbed.netns import NetnsSite, NetnsTestbed
from lab.testbed.processes import enter, spawn, tool
from loadgen.sampling.namespace import new_namespace, own_namespace, run_inside

pytestmark = pytest.mark.kernel

STAND_IN = (sys.executable, "-I", str(Path(__file__).with_name("stand_in.py")))


@pytest.fixture
def testbed() -> NetnsTestbed:
    return NetnsTestbed(STAND_IN)


def saw(log: Path) -> Any:
    """What the stand-in said last."""
    return json.loads(log.read_text().splitlines()[-1])


def inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


def ended(pid: int) -> bool:
    """Whether a process has ended, be it reaped or not."""
    try:
        return ") Z " in Path("/proc", str(pid), "stat").read_text()
    except FileNotFoundError:
        return True


def net(namespace: int, name: str) -> str:
    """A file of the namespace; /proc/net itself is that of the process's first thread."""
    return run_inside(namespace, Path("/proc/thread-self/net", name).read_text)


def ss(namespace: int, *options: str) -> list[list[str]]:
    command = [*enter(namespace), "ss", "-Htn", *options]
    done = subprocess.run(command, pass_fds=(namespace,), capture_output=True, check=True)
    return [line.split() for line in done.stdout.decode().splitlines()]


async def until(true: Callable[[], object], seconds: float = 5) -> None:
    with trio.fail_after(seconds):
        while not true():
            await trio.sleep(0.01)


async def test_the_client_reaches_every_server_from_every_address(
    testbed: NetnsTestbed, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with testbed.site(SitePlan(servers=3, source_addresses=2)) as site:
        assert site.targets == ("198.19.0.1:11211", "198.19.0.2:11211", "198.19.0.3:11211")
        assert site.sources == ("198.18.0.1", "198.18.0.2")
        pools = [f"--from={source}" for source in site.sources]
        assert await site.loadgen([*site.targets, *pools], log) == 0
        assert saw(log)["sources"] == list(site.sources) * 3


async def test_loadgen_runs_on_the_client_and_is_told_of_the_server(
    testbed: NetnsTestbed, tmp_path: Path
) -> None:
    """Its exit code comes back, and it may open as many files as the system allows."""
    log = tmp_path / "log"
    async with testbed.site(SitePlan()) as site:
        assert await site.loadgen([*site.targets, "--exit", "3"], log) == 3
        report = saw(log)
        assert report["client"] == inode(site.client)
        assert report["server"] == inode(site.server)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert report["nofile"] == [hard, hard]
        assert report["group"] == report["pid"]


async def test_without_a_source_the_first_address_is_used(
    testbed: NetnsTestbed, tmp_path: Path
) -> None:
    async with testbed.site(SitePlan(source_addresses=3)) as site:
        assert await site.loadgen(site.targets, tmp_path / "log") == 0
        assert saw(tmp_path / "log")["sources"] == ["198.18.0.1"]


async def test_a_site_starts_without_history(testbed: NetnsTestbed) -> None:
    """Nor does the ready check leave a TIME_WAIT socket."""
    async with testbed.site(SitePlan(servers=2)) as site:
        for namespace in (site.client, site.server):
            assert " tw 0 " in net(namespace, "sockstat")
        assert ss(site.client, "-a") == []


async def test_sites_are_apart(testbed: NetnsTestbed) -> None:
    """Two at once use the same addresses and do not meet; none is the lab's own namespace."""
    async with testbed.site(SitePlan()) as one, testbed.site(SitePlan()) as other:
        spaces = {inode(fd) for fd in (one.client, one.server, other.client, other.server)}
        assert len(spaces) == 4
        own = own_namespace()
        assert inode(own) not in spaces
        os.close(own)


async def test_each_side_resolves_one_neighbour(testbed: NetnsTestbed, tmp_path: Path) -> None:
    """However many addresses there are: the neighbour table is small and the whole machine's."""
    plan = SitePlan(servers=3, source_addresses=40)
    async with testbed.site(plan) as site:
        pools = [f"--from={source}" for source in site.sources]
        assert await site.loadgen([*site.targets, *pools], tmp_path / "log") == 0
        for namespace in (site.client, site.server):
            heading, *neighbours = net(namespace, "arp").splitlines()
            assert len(neighbours) == 1, heading


async def test_prepare_comes_before_the_servers_listen(testbed: NetnsTestbed) -> None:
    """A somaxconn set by a tuning is the accept queue's length; else it is the backlog asked for."""

    def prepare(client: int, server: int) -> None:
        del client
        somaxconn = Path("/proc/sys/net/core/somaxconn")
        run_inside(server, lambda: somaxconn.write_text("7"))

    async with testbed.site(SitePlan(), prepare) as site:
        assert [line[2] for line in ss(site.server, "-l")] == ["7"]
    async with testbed.site(SitePlan()) as site:
        assert [line[2] for line in ss(site.server, "-l")] == ["4096"]


async def test_an_error_in_prepare_comes_through_as_it_is(testbed: NetnsTestbed) -> None:
    def prepare(client: int, server: int) -> None:
        raise ZeroDivisionError(client, server)

    with pytest.raises(ZeroDivisionError):
        async with testbed.site(SitePlan(), prepare):
            pytest.fail("the site must not be handed out")


async def test_nothing_stays_open(testbed: NetnsTestbed, tmp_path: Path) -> None:
    """Neither descriptors nor processes, after a good end and after an error in the body."""

    def descriptors() -> set[str]:
        return {entry.name for entry in Path("/proc/self/fd").iterdir()}

    before = descriptors()
    async with testbed.site(SitePlan(servers=2)) as site:
        await site.loadgen(site.targets, tmp_path / "log")
    assert descriptors() == before
    with pytest.raises(ZeroDivisionError):
        async with testbed.site(SitePlan(servers=2)) as site:
            raise ZeroDivisionError
    assert descriptors() == before
    assert isinstance(site, NetnsSite)
    for pid in site.servers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_memcached_that_cannot_start_says_why(testbed: NetnsTestbed) -> None:
    with pytest.raises(TestbedError) as caught:
        async with testbed.site(SitePlan(memcached_options=("--no-such-option",))):
            pytest.fail("the site must not be handed out")
    message = str(caught.value)
    assert message.startswith("memcached at 198.19.0.1:11211 ended with ")
    assert "no-such-option" in message
    assert "\n" not in message


async def test_a_memcached_that_never_answers_is_an_error(
    testbed: NetnsTestbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It listens on another port, so it lives and nobody answers where it should."""
    monkeypatch.setattr(servers, "READY_WITHIN", 0.2)
    with pytest.raises(TestbedError, match=r"did not answer within 0\.2 s"):
        async with testbed.site(SitePlan(memcached_options=("-p", "11212"))):
            pytest.fail("the site must not be handed out")


async def test_a_memcached_that_dies_during_the_trial_is_an_error(testbed: NetnsTestbed) -> None:
    async def trial() -> None:
        async with testbed.site(SitePlan(servers=2)) as site:
            assert isinstance(site, NetnsSite)
            process = os.pidfd_open(site.servers[1])
            signal.pidfd_send_signal(process, signal.SIGKILL)
            await trio.lowlevel.wait_readable(process)  # all of its threads, too, have ended
            os.close(process)

    with pytest.raises(TestbedError, match=r"198\.19\.0\.2:11211 ended during the trial with -9"):
        await trial()


@pytest.mark.parametrize("manner", ["--forever", "--stubborn"])
async def test_cancellation_interrupts_loadgen_then_kills_it(
    testbed: NetnsTestbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: str
) -> None:
    """SIGINT first, once; who ignores it is killed, and its workers with it."""
    if manner == "--stubborn":
        monkeypatch.setattr(netns, "STOP_GRACE", 0.2)
    log = tmp_path / "log"
    log.touch()
    async with testbed.site(SitePlan()) as site, trio.open_nursery() as nursery:
        nursery.start_soon(site.loadgen, [*site.targets, manner], log)
        await until(lambda: log.read_text().endswith("\n"))
        report = saw(log)
        nursery.cancel_scope.cancel()
    assert log.read_text().splitlines()[1:] == ["interrupted"]
    for pid in (report["pid"], report["worker"]):
        await until(partial(ended, pid))


async def test_a_round_trip_is_emulated_or_a_note_says_why_not(
    testbed: NetnsTestbed, tmp_path: Path
) -> None:
    async with testbed.site(SitePlan(rtt=0.1)) as site:
        started = trio.current_time()
        assert await site.loadgen(site.targets, tmp_path / "log") == 0
        took = trio.current_time() - started
        if site.notes:
            (note,) = site.notes
            assert note.startswith("no round-trip time of 100 ms was emulated: ")
            assert "netem" in note
            assert "\n" not in note
        else:
            assert took > 0.2  # handshake and request, a round trip each


def test_check_finds_nothing_wrong_here(testbed: NetnsTestbed) -> None:
    testbed.check()


def test_check_names_the_package_of_a_missing_program(
    testbed: NetnsTestbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TestbedError, match="apt install memcached"):
        testbed.check()


async def test_a_child_of_a_dead_lab_leaves_before_it_becomes_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lab may die between the fork and the child's request to die with it."""
    started = tmp_path / "started"
    namespace = new_namespace()
    try:
        command = ["touch", str(started)]
        assert await spawn(command, namespace=namespace, output=1).wait() == 0
        started.unlink()
        monkeypatch.setattr(os, "getpid", lambda: 1)  # to the child, this is not its parent
        assert await spawn(command, namespace=namespace, output=1).wait() == 1
        assert not started.exists()
    finally:
        os.close(namespace)


async def test_only_the_main_thread_may_spawn() -> None:
    """The parent whose death the kernel watches is a thread."""
    namespace = new_namespace()
    try:
        with pytest.raises(RuntimeError, match="main thread"):
            await trio.to_thread.run_sync(
                lambda: spawn([tool("ip"), "link"], namespace=namespace, output=1)
            )
    finally:
        os.close(namespace)
