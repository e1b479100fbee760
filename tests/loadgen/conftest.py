"""Shared by the tests of loadgen: hypothesis' settings, and a real memcached."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.loadgen.memcached import Memcached

# A loaded machine is slow for reasons that are not the code's: no deadline for one example.
settings.register_profile(
    "churnlab", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("churnlab")


@pytest.fixture(scope="session")
def memcached() -> Iterator[Memcached]:
    """A memcached on a free port of 127.0.0.1, for the whole session."""
    with Memcached() as server:
        yield server
