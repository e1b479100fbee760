"""What all tests share: the right to make namespaces, taken before any thread exists."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from lab.testbed.base import TestbedError
from lab.testbed.userns import ensure_privileges

# A property is true however busy the machine is: timings belong to bench/.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["tests.browser"]

try:
    # An ordinary user moves into a user namespace of their own; only a process with a single
    # thread may, so it comes before everything else.
    ensure_privileges()
    _NO_NAMESPACES = None
except TestbedError as error:
    _NO_NAMESPACES = str(error)


# What runs in the background, or under nohup, inherits that these are ignored, and so would the
# commands that the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs namespaces where the kernel forbids them, and say which setting does."""
    if _NO_NAMESPACES is None:
        return
    for item in items:
        if item.get_closest_marker("kernel") is not None:
            item.add_marker(pytest.mark.skip(reason=_NO_NAMESPACES))


# Timings belong to bench/: on a busy machine any example may take long without anything being wrong.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
