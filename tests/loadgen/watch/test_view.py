"""The view at every size, its keys, and what it says of a destination."""

from __future__ import annotations

import pytest
from rich.console import Console

from loadgen.sampling.census import Census
from loadgen.watch.headroom import History, Reading
from loadgen.watch.terminal import after
from loadgen.watch.view import ORDERS, Look, bar, renderable
from loadgen.watch.who import Memory, Who, who
from loadgen.watch.words import named
from tests.loadgen.watch.test_forecast import steady
from tests.loadgen.watch.test_who import CRON, ONE, RULES, TWO, WEB, live


def scene() -> tuple[History, Who]:
    history, memory = History(), Memory()
    census = Census({ONE: steady(200, 50, 4), TWO: steady(400, 20, 1)})
    memory.add(0.0, [*live(ONE, 4), *live(TWO, 1)], dict(enumerate([WEB, WEB, WEB, CRON, CRON])))
    pools = {pool: held.all for pool, held in census.pools.items()}
    for t in (0.0, 1.0):
        history.add(
            Reading(t, {"ephemeral_ports_limit": 28_232, "sockstat_TCP_tw": 18_000,
                        "sockstat_TCP_tw_limit": 131_072, "netstat_Tcp_ActiveOpens": 600 * t}, pools)
        )  # fmt: skip
    return history, who(census, memory, RULES, None, None)


def shown(look: Look, width: int = 140, height: int | None = None, **options: bool) -> list[str]:
    history, found = scene()
    console = Console(width=width, height=height or 100, color_system=None, **options)  # type: ignore[arg-type]
    with console.capture() as capture:
        console.print(renderable(history, {}, "web1", found, look, (width, height)))
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 110, 200])
@pytest.mark.parametrize("height", [8, 24, 50, None])
def test_it_fits_every_terminal(width: int, height: int | None) -> None:
    lines = shown(Look(keys=True), width, height)
    assert max(map(len, lines)) <= width
    # Where a column must fold its words the lines are a few more; the screen crops them.
    if height is not None and width >= 110 and height >= 24:
        assert len(lines) <= height


def test_one_line_a_limit_and_the_destinations_below() -> None:
    lines = shown(Look())
    text = "\n".join(lines)
    assert sum("ports toward" in line for line in lines) == 1
    assert "Destinations, by ports held" in text
    assert "slow in" in text
    assert "cron (200)" in text
    assert "unit" not in text
    assert "cron.service" in text


@pytest.mark.parametrize(
    ("key", "first"), [("p", "10.0.0.5"), ("r", "10.0.0.6"), ("d", "10.0.0.5")]
)
def test_keys_sort(key: str, first: str) -> None:
    look = after(Look(), key)
    assert look is not None
    lines = shown(look)
    start = next(n for n, line in enumerate(lines) if line.startswith("Destinations"))
    assert first in lines[start + 3]
    assert ORDERS[key][0] in lines[start]


def test_keys_freeze_and_quit() -> None:
    frozen = after(Look(), " ")
    assert frozen is not None
    assert frozen.frozen
    assert any("FROZEN" in line for line in shown(frozen))
    assert after(frozen, " ") == Look()
    assert after(Look(), "x") == Look()
    assert [after(Look(), key) for key in "q\x1b\x04"] == [None] * 3


def test_bars() -> None:
    assert bar(0.5, 10) == "█████░░░░░"
    assert bar(0.001, 10) == "█░░░░░░░░░"
    assert bar(0, 10) == "░" * 10
    assert bar(7, 10) == "█" * 10
    assert bar(0.5, 10, plain=True) == "#####....."


def test_plain_terminals_get_ascii_bars() -> None:
    bars = [
        line for line in shown(Look(plain=True)) if "ports toward" in line or "TIME_WAIT" in line
    ]
    assert bars
    assert not any("█" in line or "░" in line for line in bars)


@pytest.mark.parametrize(
    ("host", "port", "shown"),
    [
        ("10.0.0.1", 0, "10.0.0.1"),
        ("10.0.0.1", 10, "10.0.0.1:10"),
        ("2001:db8::1", 0, "[2001:db8::1]"),
        ("2001:db8::1", 11211, "cache:memcache"),
    ],
)
def test_a_place_has_its_name_where_one_is_known(host: str, port: int, shown: str) -> None:
    assert named(host, port, {("2001:db8::1", 11211): "cache:memcache"}) == shown
