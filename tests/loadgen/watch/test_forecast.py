"""What connect() costs and when that changes: arithmetic, against a simulation second by second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.sampling.census import STEP, Held
from loadgen.sampling.sock_diag import Pool
from loadgen.watch.forecast import Rules, closing_rate, rules, toll

POOL = Pool("10.0.0.1", "10.0.0.5", 11211)
LOOPBACK = Pool("127.0.0.1", "127.0.0.1", 11211)
DEFAULT = Rules(28_232, 14_116)


def steady(rate: float, seconds: float, live: int = 0) -> Held:
    """Return the sockets of a load that began so many seconds ago, in steps as the kernel's are."""
    waits = []
    last = int(60 / STEP)
    for step in range(last + 1):
        begin, end = 60 - min((step + 1) * STEP, 60), 60 - step * STEP
        width = max(0.0, min(end, seconds) - min(begin, seconds))
        if count := round(rate * width):
            waits.append((round((step + 1) * STEP, 3), count))
    return Held(live, tuple(waits))


@pytest.mark.parametrize("rate", [100, 500, 5_000])
@pytest.mark.parametrize("seconds", [3, 20, 100])
def test_the_rate_is_read_off_time_wait(rate: float, seconds: float) -> None:
    assert closing_rate(steady(rate, seconds)) == pytest.approx(rate, rel=0.03)


def test_with_reuse_only_the_youngest_tell_the_rate() -> None:
    """Older ones may have been taken again: the delay bounds the window."""
    young = Held(0, tuple(wait for wait in steady(1000, 60).waits if wait[0] > 58))
    assert closing_rate(young, 1.0) == pytest.approx(1000, rel=0.03)


@pytest.mark.parametrize(
    ("rate", "seconds", "slow_in", "exhausted_in"),
    [
        (500, 10, 14_116 / 500 - 10, 28_232 / 500 - 10),
        # 235.3/s is what 14,116 quick ports carry for 60 s: below, it never becomes slow.
        (230, 40, None, None),
        (240, 40, 14_116 / 240 - 40, None),
        # Past the knee the search allows 640/s, and the first half ends before the second is full.
        (20, 100, None, None),
    ],
)
def test_slow_and_exhausted_at_a_steady_rate(
    rate: float, seconds: float, slow_in: float | None, exhausted_in: float | None
) -> None:
    found = toll(POOL, steady(rate, seconds), DEFAULT)
    for value, expected in ((found.slow_in, slow_in), (found.exhausted_in, exhausted_in)):
        assert (value is None) == (expected is None)
        if expected is not None:
            assert value == pytest.approx(expected, rel=0.05)


def test_a_fast_load_is_throttled_by_its_own_searches() -> None:
    """5,000/s use the quick ports up at once; the others go at the pace of slow searches."""
    found = toll(POOL, steady(5_000, 1), DEFAULT)
    assert found.slow_in == pytest.approx(14_116 / 5_000 - 1, rel=0.05)
    assert found.exhausted_in == pytest.approx(14_116 / 5_000 - 1 + 14_116 * found.slow, rel=0.05)


@given(
    rate=st.integers(20, 2_000),
    seconds=st.integers(1, 90),
    live=st.integers(0, 500),
    usable=st.integers(500, 40_000),
)
def test_it_is_what_a_simulation_says(rate: int, seconds: int, live: int, usable: int) -> None:
    held = steady(rate, seconds, live)
    found = toll(POOL, held, Rules(usable, usable))  # no knee: the rate stays as it is
    speed = found.rate or 0.0
    # Held ports a hundred times a second: what comes, less what ends.
    moments = [step / 100 for step in range(6_001)]
    reached = next(
        (
            t
            for t in moments
            if held.all + speed * t - sum(n for left, n in held.waits if left < t) >= usable
        ),
        None,
    )
    if reached is None or found.exhausted_in is None:
        most = max(held.all, live + speed * 60)
        assert (reached is None) == (found.exhausted_in is None) or most == pytest.approx(
            usable, rel=0.05, abs=speed * STEP + 5
        )
    else:
        assert found.exhausted_in == pytest.approx(reached, abs=0.3)


def test_what_a_connect_costs() -> None:
    """50 µs while a quick port is free; then all quick ports are passed, at 0.107 µs each."""
    free, slow, full = (
        toll(POOL, Held(count), DEFAULT).connect for count in (14_115, 14_116, 28_232)
    )
    assert free == pytest.approx(50e-6)
    assert slow == pytest.approx(50e-6 + 14_116 * 0.107e-6)
    assert full == pytest.approx(50e-6 + 28_232 * 0.107e-6)


@pytest.mark.parametrize(
    ("found", "pool", "slow"),
    [
        (Rules(28_232, 14_116, 1), POOL, False),
        (Rules(28_232, 14_116, 2), LOOPBACK, False),
        (Rules(28_232, 14_116, 2), POOL, True),
        (Rules(28_232, 14_116, 1, timestamps=False), POOL, True),
        (Rules(1_000, 500, 1), POOL, True),  # 600/s need 600 ports a second of delay
    ],
)
def test_reuse_frees_what_is_older_than_its_delay(found: Rules, pool: Pool, slow: bool) -> None:
    result = toll(pool, steady(600, 60), found)
    assert (result.slow_in is not None) == slow


def test_without_time_wait_there_is_no_rate() -> None:
    """The server closes first: ports are held for as long as connections live, and that is all."""
    found = toll(POOL, Held(300), DEFAULT)
    assert (found.rate, found.held, found.slow_in, found.exhausted_in) == (None, 300, None, None)


def test_rules_from_sysctls() -> None:
    values = {
        "net.ipv4.ip_local_port_range": "32768 60999",
        "net.ipv4.ip_local_reserved_ports": "33000-33099,40000",
        "net.ipv4.tcp_tw_reuse": "1",
        "net.ipv4.tcp_tw_reuse_delay": "250",
    }
    found = rules(values, "6.18.44")
    assert found is not None
    assert (found.usable, found.reuse, found.delay) == (28_131, 1, 0.25)
    assert found.quick == 14_116 - 51
    assert rules(values, "3.10.0") == Rules(28_131, 28_131, 1, delay=0.25)
    assert rules({}, "6.18") is None
    assert rules({"net.ipv4.ip_local_port_range": "nonsense"}, "6.18") is None
