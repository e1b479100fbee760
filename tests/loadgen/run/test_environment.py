"""Where a run took place, and what is said of a place whose times are not a kernel's."""

from __future__ import annotations

import pytest

from loadgen.run import environment
from loadgen.run.environment import GUEST, describe
from loadgen.summary import Environment, emulated


def processor(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(
        environment, "_first_line", lambda path, _prefix: name if "cpu" in path else None
    )


def test_a_machine_of_its_own_has_no_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GUEST, raising=False)
    processor(monkeypatch, "A Processor")
    assert describe().guest is None
    assert not emulated(describe())


def test_what_the_starter_tells_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GUEST, '{"accelerator": "kvm", "host_kernel": "6.18.1"}')
    processor(monkeypatch, "A Processor")
    assert describe().guest == {"accelerator": "kvm", "host_kernel": "6.18.1"}
    assert not emulated(describe())


@pytest.mark.parametrize("told", ["", "{", "[1]", "null", '{"accelerator": "kvm"}'])
def test_emulated_processors_say_so_whoever_started_the_guest(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GUEST, told)
    processor(monkeypatch, "QEMU TCG CPU version 2.5+")
    assert (describe().guest or {})["accelerator"] == "emulation"
    assert emulated(describe())


@pytest.mark.parametrize("guest", [None, {}, {"accelerator": "kvm"}])
def test_anything_else_is_not_emulated(guest: dict[str, str] | None) -> None:
    assert not emulated(Environment(guest=guest))
