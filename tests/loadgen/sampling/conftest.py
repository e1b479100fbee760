"""Shared by the tests of the samplers: a pair of fresh namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.loadgen.sampling.network import Pair, make_pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A client's and a server's namespace, joined; gone after the test."""
    made = make_pair()
    yield made
    os.close(made.client)
    os.close(made.server)
