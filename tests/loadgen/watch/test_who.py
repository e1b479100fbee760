"""Who uses what, from made-up counts; and where a cgroup belongs, by its path."""

from __future__ import annotations

import tracemalloc

import pytest

from loadgen.sampling.census import Census, Held, LiveSocket
from loadgen.sampling.owners import Owner
from loadgen.sampling.sock_diag import Pool
from loadgen.sampling.tracked import Tracked
from loadgen.watch.forecast import Rules
from loadgen.watch.headroom import History, Reading
from loadgen.watch.moments import Marks
from loadgen.watch.places import Place, place
from loadgen.watch.who import LISTED, MEMORY, Memory, who
from tests.loadgen.watch.test_forecast import steady

ID = "0123456789abcdef" * 4
ONE, TWO = Pool("10.0.0.1", "10.0.0.5", 11211), Pool("10.0.0.1", "10.0.0.6", 11211)
WEB, CRON = Owner("web", 100, f"/docker/{ID}"), Owner("cron", 200, "/system.slice/cron.service")
RULES = Rules(28_232, 14_116)


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("/", Place()),
        ("", Place()),
        (f"/docker/{ID}", Place(ID[:12])),
        (f"/system.slice/docker-{ID}.scope", Place(ID[:12])),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", Place(ID[:12])),
        (f"/kubepods/burstable/pod1/crio-{ID}", Place(ID[:12])),
        (f"/user.slice/user-0.slice/user@0.service/libpod-{ID}.scope", Place(ID[:12], "user@0.service")),
        (f"/system.slice/docker-{ID}.scope/system.slice/nginx.service", Place(ID[:12], "nginx.service")),
        ("/lxc.payload.web1/init.scope", Place("web1", "init.scope")),
        ("/lxc/web2", Place("web2")),
        ("/system.slice/memcached.service", Place("", "memcached.service")),
        ("/user.slice/user-1000.slice/session-3.scope", Place("", "session-3.scope")),
    ],
)  # fmt: skip
def test_which_container_and_unit(cgroup: str, expected: Place) -> None:
    assert place(cgroup) == expected


def live(pool: Pool, count: int, inode: int = 7) -> list[LiveSocket]:
    return [LiveSocket(pool, 1, 0, inode, 5)] * count


def test_rates_and_shares_by_destination_and_owner() -> None:
    """1,000/s and 250/s; of the first, three of four sockets seen were web's."""
    memory = Memory()
    sockets = [*live(ONE, 4), *live(TWO, 1)]
    owners = dict(enumerate([WEB, WEB, WEB, CRON, CRON]))
    for t in range(5):
        memory.add(float(t), sockets, owners)
    census = Census({ONE: steady(1000, 10, 4), TWO: steady(250, 10, 1)}, live=sockets)
    found = who(census, memory, RULES, None, None)
    first, second = found.destinations
    assert (first.destination, second.destination) == ("10.0.0.5", "10.0.0.6")
    assert first.held == pytest.approx(10_004, abs=5)
    assert first.share == pytest.approx(10_004 / 28_232, abs=0.001)
    assert first.rate == pytest.approx(1000, rel=0.02)
    assert first.lifetime == pytest.approx(4 / 1000, rel=0.02)
    web, cron = found.owners
    assert (web.process, web.container, web.unit) == ("web", ID[:12], "")
    assert (cron.process, cron.container, cron.unit) == ("cron", "", "cron.service")
    assert web.rate == pytest.approx(750, rel=0.02)
    assert cron.rate == pytest.approx(500, rel=0.02)
    assert found.rate == pytest.approx((web.rate or 0) + (cron.rate or 0), rel=0.001)
    assert (web.share, web.live) == (0.6, 3)
    assert cron.destinations == ["10.0.0.5:11211", "10.0.0.6:11211"]
    assert found.seen == 25


@pytest.mark.parametrize("missing", [1, 4, 30])
def test_what_is_about_to_be_slow_or_exhausted_is_not_yet(missing: int) -> None:
    """A time that rounds to 0 was told as `finds no port` with ports left."""
    pool = steady(400, 2.5, 0)
    soon = Rules(pool.all + missing, pool.all + missing)
    (line,) = who(Census({ONE: pool}), Memory(), soon, None, None).destinations
    assert line.exhausted_in == 0.1
    (line,) = who(Census({ONE: pool}), Memory(), Rules(pool.all, pool.all), None, None).destinations
    assert line.exhausted_in == 0


def test_a_socket_that_waits_for_the_other_side_lives_but_is_nobody_s() -> None:
    memory = Memory()
    memory.add(0.0, live(ONE, 3, inode=0), dict.fromkeys(range(3), Owner()))
    found = who(Census({ONE: steady(100, 10, 3)}), memory, RULES, None, None)
    assert found.owners == []
    assert found.destinations[0].lifetime == pytest.approx(0.03, rel=0.05)


def test_what_was_seen_long_ago_is_forgotten() -> None:
    memory = Memory()
    memory.add(0.0, live(ONE, 3), dict.fromkeys(range(3), WEB))
    memory.add(MEMORY + 1, live(ONE, 1), {0: CRON})
    assert set(memory.seen()) == {(ONE, CRON)}


def test_the_rest_is_summed_up() -> None:
    pools = {Pool("10.0.0.1", f"10.0.1.{n}", 80): Held(100 - n) for n in range(30)}
    found = who(Census(pools, Held(7), 4), Memory(), RULES, None, None)
    assert len(found.destinations) == LISTED
    assert found.more_destinations == 30 - LISTED + 4
    assert sum(line.held for line in found.destinations) + found.more_held == (
        sum(held.live for held in pools.values()) + 7
    )


def test_tracked_shares_are_of_the_kernel_s_count() -> None:
    sample = Tracked(1_000, complete=False, tcp=900, pools={ONE: 600, TWO: 300})
    found = who(Census(), Memory(), RULES, sample, 250_000)
    assert [(line.entries, line.share) for line in found.tracked] == [(150_000, 0.6), (75_000, 0.3)]
    assert (found.tracked_read, found.tracked_whole) == (1_000, False)


def test_without_a_range_nothing_is_foretold() -> None:
    found = who(Census({ONE: steady(100, 10)}), Memory(), None, None, None)
    assert found.destinations[0].rate == pytest.approx(100, rel=0.03)
    assert (found.destinations[0].share, found.destinations[0].connect) == (None, None)


def test_an_hour_of_readings_is_as_large_as_twenty_minutes() -> None:
    """All that a session remembers: the last seconds of each series, the last minute of looks.

    Destinations, owners and inodes change all the time, as on a busy host.
    """
    history, memory, marks = History(), Memory(), Marks()
    sizes = []
    held = Held(2, ((50.0, 100), (59.0, 50)))
    tracemalloc.start()
    try:
        for t in range(0, 3_601, 10):
            pool = Pool("10.0.0.1", f"10.0.{t // 200}.{t % 200}", 80)
            census = Census({pool: held})
            memory.add(
                float(t), live(pool, 2, inode=t + 1), dict.fromkeys(range(2), Owner("p", t, "/c"))
            )
            values = {
                "ephemeral_ports_limit": 28_232,
                "sockstat_TCP_tw": t,
                "netstat_Tcp_ActiveOpens": t,
            }
            history.add(Reading(float(t), values, {pool: t % 500}))
            found = who(census, memory, RULES, None, None)
            marks.take(float(t), values, history.gauges(), found, {})
            if t in {1_200, 3_600}:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[1] < sizes[0] * 1.1
