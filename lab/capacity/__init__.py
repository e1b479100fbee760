"""The capacity model: from settings, kernel, topology and load to what will happen. Pure.

    situation   what a forecast depends on
    ports       local ports, their search, and how long each is held
    tracking    connection tracking
    nat         the ports of a NAT in between
    proxy       a proxy in between, as a client of its own
    forecast    the limits together: capacity, the first to break, steady numbers and their memory

docs/capacity.md says where each formula comes from and how well it was measured; its labels (P1, T1,
C1, Q1, …) stand in the code beside what computes them.
"""

from __future__ import annotations

from lab.capacity.forecast import forecast, time_wait_sockets
from lab.capacity.limits import LIMITS
from lab.capacity.nat import Mappings
from lab.capacity.ports import (
    Pools,
    Search,
    connections_for,
    distinct,
    pools,
    reuses,
)
from lab.capacity.proxy import behind_proxy
from lab.capacity.records import Forecast, Limit, LimitName
from lab.capacity.situation import KEYS, Load, Settings, Situation, close_seen
from lab.capacity.tracking import TrackingTable
from loadgen.search import CapacityError, Costs, Kernel, free_ports

__all__ = [
    "KEYS",
    "LIMITS",
    "CapacityError",
    "Costs",
    "Forecast",
    "Kernel",
    "Limit",
    "LimitName",
    "Load",
    "Mappings",
    "Pools",
    "Search",
    "Settings",
    "Situation",
    "TrackingTable",
    "behind_proxy",
    "close_seen",
    "connections_for",
    "distinct",
    "forecast",
    "free_ports",
    "pools",
    "reuses",
    "time_wait_sockets",
]
