"""Every fault that the suite provokes for real, and the cause that must be named for it.

Each is provoked twice: while the load runs, and before its first arrival. A host with a history must
get the same answer as one whose limit is reached under the eyes of the tool.
"""

from __future__ import annotations

from tests.faults.catalogue import boxes, limits, network, others, servers
from tests.faults.fault import Case, Fault

FAULTS: tuple[Fault, ...] = (
    *limits.FAULTS,
    *servers.FAULTS,
    *network.FAULTS,
    *boxes.FAULTS,
    *others.FAULTS,
)
CASES: tuple[Case, ...] = tuple(Case(fault, when) for fault in FAULTS for when in fault.whens)
BY_NAME = {case.name: case for case in CASES}
