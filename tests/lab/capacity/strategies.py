"""Situations for hypothesis: any that a kernel could be in."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from lab.capacity import Costs, Kernel, Load, Settings, Situation


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    """Return a range of ports."""
    low = draw(st.integers(1024, 65_000))
    return low, draw(st.integers(low, 65_535))


settings = st.builds(
    Settings,
    ports=spans(),
    reuse=st.integers(0, 2),
    reuse_delay=st.sampled_from([0.001, 0.1, 0.5, 1.0, 60.0]),
    timestamps=st.booleans(),
    max_time_wait=st.none() | st.integers(0, 300_000),
    server_max_time_wait=st.none() | st.integers(0, 300_000),
    tracked_most=st.none() | st.integers(1, 1_000_000),
    accounting=st.booleans(),
)
kernels = st.builds(
    Kernel,
    parity_first=st.booleans(),
    socket_range=st.booleans(),
    socket_range_in_order=st.booleans(),
    skips=st.booleans(),
)
costs = st.builds(
    Costs,
    connection=st.floats(1e-6, 1e-3),
    per_port=st.floats(0, 1e-6),
)
loads = st.builds(
    Load,
    rate=st.floats(0.1, 100_000),
    duration=st.none() | st.floats(0.1, 3600),
    close=st.sampled_from(["client", "server", "rst"]),
    sources=st.integers(1, 50),
    destinations=st.integers(1, 50),
    loopback=st.booleans(),
    local_port_range=st.none() | spans(),
    bind_early=st.booleans(),
    rtt=st.floats(0, 0.1),
    tracked=st.booleans(),
    tracked_before=st.integers(0, 100_000),
    open_files=st.none() | st.integers(1, 100_000),
    costs=costs,
)
situations: st.SearchStrategy[Any] = st.builds(
    Situation, load=loads, settings=settings, kernel=kernels
)
