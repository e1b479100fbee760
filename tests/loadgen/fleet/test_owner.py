"""Who made something on an engine, and whether that process is still alive."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from loadgen.fleet.owner import Owner, boot_id, start_of


def test_this_process_owns_what_it_makes_and_is_alive() -> None:
    owner = Owner.parse(str(Owner.this()))
    assert owner == Owner.this()
    assert owner.pid == os.getpid()
    assert owner.here()
    assert owner.alive()


def test_a_process_that_has_ended_is_not_alive_nor_is_a_zombie() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner(boot_id(), child.pid, start_of(child.pid) or 0)
    assert owner.alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not owner.alive()  # not reaped yet
    child.communicate()
    assert not owner.alive()


def test_a_process_id_used_again_misleads_nobody() -> None:
    assert not Owner(boot_id(), os.getpid(), (start_of(os.getpid()) or 0) + 1).alive()


def test_of_a_process_elsewhere_nothing_is_known() -> None:
    owner = Owner("another-boot", os.getpid(), start_of(os.getpid()) or 0)
    assert not owner.here()
    assert owner.alive()


@pytest.mark.parametrize("text", ["", "x", "x/1", "x/y/1", "x/1/y", "///"])
def test_a_label_that_is_none_of_ours_names_nobody(text: str) -> None:
    owner = Owner.parse(text)
    assert not owner.here()
