"""What the watcher says against what then happens: two programs, three destinations, 2,000 ports."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from loadgen.sampling.namespace import run_inside
from loadgen.watch.session import Session, WatchLine
from tests.loadgen.sampling.network import SERVER, Pair, make_pair

CHURNER = Path(__file__).with_name("churner.py")
QUICK, USABLE = 1_000, 2_000
RATE = 200


@contextmanager
def accepting(pair: Pair, ports: range) -> Iterator[None]:
    """Accept connections and close each once the client has, as a server does."""
    stop = threading.Event()

    def serve(port: int) -> None:
        with pair.listen(port, 512) as listener:
            listener.settimeout(0.1)
            while not stop.is_set():
                with suppress(TimeoutError):
                    far, _ = listener.accept()
                    with far:
                        far.settimeout(5)
                        far.recv(1)

    threads = [threading.Thread(target=serve, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def cgroup_of(letter: str) -> Path | None:
    """Return a new cgroup that is called as Docker calls a container's; None where there can be none."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            folder = Path(before.split()[4]) / f"docker-{letter * 64}.scope"
            try:
                folder.mkdir(exist_ok=True)
            except OSError:
                return None
            return folder
    return None


def churn(pair: Pair, cgroup: Path | None, *words: object) -> subprocess.Popen[str]:
    def enter() -> None:
        if cgroup is not None:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, str(CHURNER), *map(str, words)]
    made: Callable[[], subprocess.Popen[str]] = lambda: subprocess.Popen(  # noqa: E731 - one call, in there
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=enter,  # noqa: PLW1509 - no thread holds a lock it needs
    )
    return run_inside(pair.client, made)


@pytest.mark.kernel
def test_who_it_is_and_when_it_will_be_slow_and_fail() -> None:
    """200/s toward one server from one container, 100/s toward each of two more from another.

    Slow after 1,000 ports and at the end after 2,000: what was foretold half-way is right within a
    tenth, or the quarter of a second in which sockets are counted.
    """
    pair = make_pair()
    pair.set_client("net/ipv4/ip_local_port_range", "20000 21999")
    first, second = cgroup_of("a"), cgroup_of("b")
    readings: list[tuple[float, WatchLine]] = []
    with ExitStack() as stack:
        for namespace in (pair.client, pair.server):
            stack.callback(os.close, namespace)
        for folder in (first, second):
            if folder is not None:
                stack.callback(folder.rmdir)
        stack.enter_context(accepting(pair, range(11211, 11214)))
        session = stack.enter_context(Session(pair.client))
        session.read()
        one = churn(pair, first, 30, RATE, 0.002, f"{SERVER}:11211")
        two = churn(pair, second, 30, RATE, 0.002, f"{SERVER}:11212", f"{SERVER}:11213")
        give_up = time.monotonic() + 40
        while one.poll() is None and time.monotonic() < give_up:
            readings.append((time.monotonic(), session.read(force=True)))
            time.sleep(0.25)
        two.kill()
        told, _ = one.communicate(timeout=10)
        two.communicate(timeout=10)
        at_rest = session.read(force=True)
    full_at = float(told.split()[1])

    busiest = [
        (t, line.who.destinations[0])
        for t, line in readings
        if line.who is not None and line.who.destinations and line.who.destinations[0].port == 11211
    ]
    slow_at = next(t for t, found in busiest if found.held >= QUICK)
    for goal, happened, field in ((QUICK, slow_at, "slow_in"), (USABLE, full_at, "exhausted_in")):
        t, found = next((t, found) for t, found in busiest if found.held >= goal / 2)
        left = getattr(found, field)
        assert left == pytest.approx(happened - t, rel=0.1, abs=0.3), field
    t, found = next((t, found) for t, found in busiest if found.held >= QUICK * 0.9)
    assert found.rate == pytest.approx(RATE, rel=0.1)
    assert busiest[-1][1].connect == pytest.approx(50e-6 + QUICK * 0.107e-6, rel=0.01)

    # The sums are the kernel's own.
    assert at_rest.who is not None
    assert at_rest.who.time_wait == pytest.approx(
        at_rest.values["sockstat_TCP_tw"], rel=0.01, abs=2
    )
    last = next(line.who for _, line in reversed(readings) if line.who is not None)
    assert last.rate == pytest.approx(2 * RATE, rel=0.15)
    assert sum(owner.rate or 0 for owner in last.owners) == pytest.approx(last.rate, rel=0.05)
    if first is None or second is None:
        return  # no cgroups here: the processes' names were tested with the owners
    rates = {owner.container: owner.rate for owner in last.owners}
    assert rates["a" * 12] == pytest.approx(RATE, rel=0.2)
    assert rates["b" * 12] == pytest.approx(RATE, rel=0.2)
    places = {owner.container: set(owner.destinations) for owner in last.owners}
    assert places["a" * 12] == {f"{SERVER}:11211"}
    assert places["b" * 12] == {f"{SERVER}:11212", f"{SERVER}:11213"}
