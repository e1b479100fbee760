"""Says which lines of a tuning would leave a host worse off, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.flags import flags
from lab.sysctl.tuning import Tuning
from lab.testbed.fresh import fresh_values


def doubts(tunings: Iterable[Tuning]) -> list[str]:
    """Return one line for each doubt about the tunings, against this kernel's defaults."""
    wanted = list(tunings)
    keys = {*CATALOGUE, *(key for tuning in wanted for key in tuning.values)}
    values, _ = fresh_values(keys)
    return list(
        dict.fromkeys(
            f"flag: {tuning.name}, {doubt}" for tuning in wanted for doubt in flags(tuning, values)
        )
    )
