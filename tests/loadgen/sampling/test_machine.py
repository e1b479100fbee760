"""The machine's and a process' own figures, and shares from made-up CPU times."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from contextlib import closing

import pytest

from loadgen.metrics import MACHINE, PROCESS
from loadgen.sampling import MachineReader, ProcessReader
from loadgen.sampling.machine import _busiest


def test_the_machine_has_all_its_metrics() -> None:
    with closing(MachineReader()) as machine:
        now = time.monotonic()
        machine.read(now=now + 10)
        values = machine.read(now=now + 20)
        assert not machine.absent
        assert set(values) == {metric.name for metric in MACHINE}
        assert values["cpu_count"] == os.sysconf("SC_NPROCESSORS_ONLN")
        assert 0 <= values["cpu_busiest_share"] <= 1
        assert values["cpu_idle_seconds"] > 0
        assert 0 < values["filefd_allocated"] <= values["filefd_maximum"]


@pytest.mark.parametrize(
    ("spent", "busy", "softirq"),
    [
        # user nice system idle iowait irq softirq steal
        ([(0, 0, 0, 100, 0, 0, 0, 0), (50, 0, 25, 0, 0, 0, 25, 0)], 1.0, 0.25),
        ([(0, 0, 0, 10, 0, 0, 90, 0), (100, 0, 0, 0, 0, 0, 0, 0)], 1.0, 0.9),
        ([(0, 0, 0, 60, 20, 0, 0, 20)], 0.2, 0.0),
        ([(0, 0, 0, 0, 0, 0, 0, 0)], 0.0, 0.0),
    ],
)
def test_shares_are_of_the_busiest_cpu(
    spent: list[tuple[int, ...]], busy: float, softirq: float
) -> None:
    before: dict[str, tuple[int, ...]] = {f"cpu{n}": (1000,) * 8 for n in range(len(spent))}
    after = {f"cpu{n}": tuple(1000 + ticks for ticks in row) for n, row in enumerate(spent)} | {
        "cpu": (10**9,) * 8,
        "cpu99": (1,) * 8,
    }
    assert _busiest(before, after) == {
        "cpu_busiest_share": busy,
        "cpu_busiest_softirq_share": softirq,
    }


def test_ones_own_process() -> None:
    with closing(ProcessReader([os.getpid()])) as process:
        values = process.read()
        assert not process.absent
        assert set(values) == {metric.name for metric in PROCESS}
        assert values["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        extra = [os.open("/dev/null", os.O_RDONLY) for _ in range(25)]
        try:
            assert process.read()["process_open_fds"] == values["process_open_fds"] + 25
        finally:
            for descriptor in extra:
                os.close(descriptor)


def test_the_cpu_time_of_an_ended_process_stays_in_the_sum() -> None:
    """The sum of a run's workers must not fall when one of them ends."""
    spin = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
    with subprocess.Popen(
        [sys.executable, "-c", spin + "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with closing(ProcessReader([child.pid])) as reader:
            spun = reader.read()["process_cpu_seconds_total"]
            # The kernel rounds user and system time down, each to a tick of its own.
            assert spun > 0.2 - 2 / os.sysconf("SC_CLK_TCK")
            child.communicate(b"\n")
            values = reader.read()
            assert values["process_cpu_seconds_total"] == spun
            assert "process_open_fds" not in values
            assert "ended" in reader.absent["process_open_fds"]


def test_the_process_nearest_to_its_limit_is_shown() -> None:
    hold = (
        "import os, resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "kept = [os.open('/dev/null', 0) for _ in range(20)]\n"
        "print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with closing(ProcessReader([os.getpid(), child.pid])) as reader:
            values = reader.read()
        child.communicate(b"\n")
    assert values["process_max_fds"] == 40
    assert 23 <= values["process_open_fds"] <= 40
