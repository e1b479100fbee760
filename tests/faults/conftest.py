"""Provokes the faults that the selected tests need, once, several at a time; prints the matrix."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.faults.catalogue import CASES
from tests.faults.matrix import Result, draw, provoke_all

_RESULTS = pytest.StashKey[dict[str, Result]]()


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Mapping[str, Result]:
    """The result of each fault that a selected test names as its parameter."""
    wanted = {
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and "results" in item.fixturenames
    }
    faults = [fault for fault in CASES if fault.name in wanted]
    found = {result.fault: result for result in provoke_all(faults)}
    request.config.stash[_RESULTS] = found
    return found


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the confusion matrix of the faults that were provoked."""
    found = config.stash.get(_RESULTS, None)
    if found:
        terminalreporter.section("faults injected × causes named")
        terminalreporter.write_line(draw(list(found.values())))
