"""Several readers under one clock, with readers that the test owns."""

from __future__ import annotations

import os
import time

import pytest

from loadgen.sample import decode_lines, encode_line
from loadgen.sampling import MachineReader, ProcessReader, Sampler
from loadgen.summary import Number


class Fixed:
    """Reads the same values each time, and takes as long as it is told."""

    def __init__(self, values: dict[str, Number], *, takes: float = 0.0) -> None:
        self.absent = {"missing": "because"}
        self.closed = False
        self.forced: list[bool] = []
        self._values = values
        self._takes = takes

    def read(self, *, now: float | None = None, force: bool = False) -> dict[str, Number]:
        assert now is not None
        self.forced.append(force)
        end = now + self._takes
        while time.monotonic() < end:
            pass
        return self._values

    def close(self) -> None:
        self.closed = True


def test_a_role_s_readers_share_one_sample() -> None:
    sampler = Sampler({"client": [Fixed({"a": 1}), Fixed({"b": 2})]}, interval=1)
    start = time.monotonic() - 5
    (sample,) = sampler.sample(start)
    assert sample.role == "client"
    assert sample.values == {"a": 1, "b": 2}
    assert 5 <= sample.t < 15
    assert list(decode_lines([encode_line(sample)])) == [sample]


def test_a_reader_s_own_values_are_not_changed() -> None:
    first: dict[str, Number] = {"a": 1}
    Sampler({"client": [Fixed(first), Fixed({"b": 2})]}, interval=1).sample(0)
    assert first == {"a": 1}


def test_a_role_with_nothing_to_tell_has_no_sample() -> None:
    assert Sampler({"server": [Fixed({})]}, interval=1).sample(0) == []


def test_strides_and_force() -> None:
    reader = Fixed({"a": 1})
    sampler = Sampler({"host": [reader]}, interval=1, strides={"host": 3})
    taken = [len(sampler.sample(0)) for _ in range(7)]
    assert taken == [1, 0, 0, 1, 0, 0, 1]
    assert len(sampler.sample(0, force=True)) == 1
    assert reader.forced == [False, False, False, True]


def test_overruns_are_counted() -> None:
    slow = Sampler({"client": [Fixed({"a": 1}, takes=0.02)]}, interval=0.01)
    fast = Sampler({"client": [Fixed({"a": 1})]}, interval=60)
    for sampler in (slow, fast):
        sampler.sample(0)
        sampler.sample(0)
    assert slow.cost()["sampler_overruns"] == 2
    assert slow.longest >= 0.02
    assert slow.cost()["sampler_cpu_seconds"] > 0
    assert fast.cost()["sampler_overruns"] == 0
    assert fast.cost()["sampler_rounds"] == 2


def test_reasons_and_closing() -> None:
    readers = [Fixed({}), Fixed({})]
    sampler = Sampler({"client": [readers[0]], "server": [readers[1]]}, interval=1)
    assert sampler.absent() == {"client": {"missing": "because"}, "server": {"missing": "because"}}
    sampler.close()
    assert all(reader.closed for reader in readers)


@pytest.mark.kernel
def test_real_readers_fit() -> None:
    sampler = Sampler(
        {"host": [MachineReader()], "generator": [ProcessReader([os.getpid()])]}, interval=1
    )
    roles = {sample.role: sample.values for sample in sampler.sample(time.monotonic())}
    assert roles["host"]["cpu_count"] >= 1
    assert roles["generator"]["process_open_fds"] > 0
    sampler.close()
