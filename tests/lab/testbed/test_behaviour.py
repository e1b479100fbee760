"""What connect() is seen to do, on the kernel at hand, and how it goes before a version number."""

from __future__ import annotations

import os
from dataclasses import asdict

import pytest

from lab.doctor.checks import _search
from lab.testbed import behaviour
from loadgen.sampling.namespace import NamespaceError
from loadgen.search import Kernel, version_of


@pytest.mark.kernel
def test_this_kernel_does_what_its_release_says_or_more() -> None:
    """A stable kernel may have what a later release brought, never the reverse."""
    seen = behaviour.behaviour()
    usual = asdict(Kernel.of(os.uname().release))
    assert seen.keys() < usual.keys()
    assert seen["parity_first"]
    if version_of(os.uname().release) >= (6, 14):
        assert seen == {name: usual[name] for name in seen}


def test_what_was_seen_goes_before_the_release() -> None:
    assert not Kernel.of("5.10.0-32-amd64").skips
    assert Kernel.of("5.10.0-32-amd64", {"skips": True, "of_another_time": True}).skips


def test_where_nothing_can_be_tried_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise NamespaceError("no network namespace")

    monkeypatch.setattr(behaviour, "new_namespace", refused)
    assert behaviour.behaviour.__wrapped__() == {}


def test_the_doctor_names_what_the_release_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"parity_first": True, "skips": True, "whole_seconds": True}
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", "5.10.1", "x", "x")))
    assert _search(seen).endswith("by whole seconds; not as its release says: skips")
    assert "not as" not in _search(seen | {"skips": False})
