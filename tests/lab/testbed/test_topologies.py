"""The box between client and servers: wired, furnished, tuned by role, and sampled."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from lab.sysctl.tuning import combine, parse
from lab.testbed import middle
from lab.testbed.base import SitePlan, TestbedError, Tuned
from lab.testbed.netns import NetnsSite, NetnsTestbed
from lab.testbed.processes import run_tool
from lab.testbed.tracking import room
from loadgen.run.rundir import read_summary
from loadgen.summary import Summary

FEW = parse(
    "net.ipv4.ip_local_port_range = 40000 40099\nnet.ipv4.tcp_tw_reuse = 0\n",
    name="few", source="./few.conf",
)  # fmt: skip


def observed(tmp_path: Path, plan: SitePlan, *options: str, tuned: Tuned | None = None) -> Summary:
    async def run() -> None:
        async with NetnsTestbed().site(plan, tuned=tuned) as site:
            out = ["--quiet", "--out", str(tmp_path / "run")]
            await site.loadgen([*site.targets, *options, *out], tmp_path / "log")
            (tmp_path / "peers").write_text(peers(site))

    trio.run(run)
    summary = read_summary(tmp_path / "run")
    assert summary is not None, (tmp_path / "log").read_text()
    return summary


def peers(site: NetnsSite) -> str:
    """The addresses that TIME_WAIT sockets of the client's side and the box's have as their own."""
    places = [site.client, *([site.middle[1]] if site.middle else [])]
    return "".join(run_tool(place, ["ss", "-Htan", "state", "time-wait"]) for place in places)


GENTLE = ("--rate", "60", "--duration", "500ms", "--max-lateness", "5s", "--workers", "1")


@pytest.mark.kernel
@pytest.mark.parametrize("topology", ["router", "nat", "proxy"])
def test_a_load_passes_the_box_and_every_host_is_sampled(tmp_path: Path, topology: str) -> None:
    plan = SitePlan(topology=topology)  # type: ignore[arg-type]
    found = observed(tmp_path, plan, *GENTLE)
    assert (found.ok, found.failed) == (30, 0)
    assert {"client", topology, "server"} <= set(found.kernel)
    box = found.kernel[topology]
    if topology == "nat":
        assert box["nf_conntrack_entries"].delta == pytest.approx(30, abs=2)
    if topology == "proxy":
        assert box["sockstat_TCP_tw"].max == pytest.approx(30, abs=2)
        assert middle.OUTER in (tmp_path / "peers").read_text(), "its own address to the servers"


@pytest.mark.kernel
def test_haproxy_passes_on_whatever_it_is(tmp_path: Path) -> None:
    found = observed(tmp_path, SitePlan(server="nginx", topology="proxy"), *GENTLE)
    assert (found.ok, found.replies) == (30, {"2xx": 30})


@pytest.mark.kernel
@pytest.mark.parametrize("server", middle.SPOKEN_BY_NUTCRACKER)
def test_nutcracker_keeps_its_connections_and_needs_no_ports(tmp_path: Path, server: str) -> None:
    plan = SitePlan(server=server, topology="proxy", proxy="nutcracker", servers=2)
    found = observed(tmp_path, plan, *GENTLE)
    assert (found.ok, found.failed, found.replies) == (30, 0, {"hit": 30})
    assert found.kernel["proxy"]["sockstat_TCP_tw"].max < 10


@pytest.mark.kernel
def test_each_role_has_the_tuning_that_names_it(tmp_path: Path) -> None:
    nat = parse("net.netfilter.nf_conntrack_tcp_timeout_time_wait = 7\n", name="n", source="./n")
    both = Tuned(combine({"client": FEW, "nat": nat}), "after")

    async def run() -> None:
        async with NetnsTestbed().site(SitePlan(topology="nat"), tuned=both) as site:
            ports = {
                role: one.in_force["net.ipv4.ip_local_port_range"]
                for role, one in site.applied.items()
            }
            assert ports == {"client": "40000 40099", "nat": "32768 60999", "server": "32768 60999"}
            timer = "net.netfilter.nf_conntrack_tcp_timeout_time_wait"
            timers = {role: one.in_force[timer] for role, one in site.applied.items()}
            assert timers == {"client": "120", "nat": "7", "server": "120"}
            # A tuning that names no role is for the two ends.
        async with NetnsTestbed().site(
            SitePlan(topology="router"), tuned=Tuned(FEW, "after")
        ) as site:
            ports = {
                role: one.in_force["net.ipv4.ip_local_port_range"]
                for role, one in site.applied.items()
            }
            assert ports == {
                "client": "40000 40099",
                "router": "32768 60999",
                "server": "40000 40099",
            }

    trio.run(run)


@pytest.mark.kernel
def test_a_nat_is_brought_near_its_brink_and_told_so() -> None:
    async def run() -> None:
        async with NetnsTestbed().site(SitePlan(topology="nat", nat_room=500)) as site:
            assert site.middle is not None
            assert room(site.middle[1]) == 500
            (note,) = site.notes
            assert "filled but for 500 entries" in note
            rules = run_tool(site.middle[1], ["nft", "list", "ruleset"])
            assert "masquerade" in rules
        with pytest.raises(TestbedError, match=r"--nat-room 999999999: the table here takes"):
            async with NetnsTestbed().site(SitePlan(topology="nat", nat_room=999_999_999)):
                pass

    trio.run(run)


@pytest.mark.kernel
def test_a_nat_with_few_ports_holds_as_many_connections(tmp_path: Path) -> None:
    plan = SitePlan(topology="nat", nat_ports=(20_000, 20_009))

    async def run() -> None:
        async with NetnsTestbed().site(plan) as site:
            assert site.middle is not None
            host, port = site.targets[0].split(":")
            script = (
                "import socket,sys\nheld=[]\n"
                "for _ in range(14):\n"
                f"    s=socket.socket(); s.settimeout(0.3)\n    try: s.connect(('{host}',{port})); held.append(s)\n"
                "    except OSError: pass\n"
                "print(len(held))\n"
            )
            said = run_tool(site.client, ["python3", "-c", script])
            (tmp_path / "held").write_text(said)

    trio.run(run)
    assert int((tmp_path / "held").read_text()) == 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"nat_ports": (0, 5)}, "nat ports: 0-5 is no range"),
        ({"nat_ports": (9, 5)}, "nat ports: 9-5 is no range"),
        ({"nat_room": -1}, "nat room: -1 is less than 0"),
    ],
)
def test_what_cannot_be_is_one_clear_line(options: dict[str, object], says: str) -> None:
    with pytest.raises(TestbedError, match=says):
        SitePlan(topology="nat", **options)  # type: ignore[arg-type]


@pytest.mark.kernel
def test_a_proxy_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middle, "_HAPROXY", "nonsense\n")

    async def run() -> None:
        with pytest.raises(TestbedError, match="haproxy ended with"):
            async with NetnsTestbed().site(SitePlan(topology="proxy")):
                pass

    trio.run(run)
