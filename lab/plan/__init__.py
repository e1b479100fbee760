"""A tuning for a rate: what has to change so that a load holds, and what that costs. Pure.

records    what `lab plan` found out
remedies   which settings have to change, in the order of their price
advice     what the application can do instead of, or beside, the settings
files      the sysctl.d file and the compose blocks
text       the whole for people
"""

from __future__ import annotations

from lab.plan.files import compose_blocks, sysctl_file
from lab.plan.records import Plan, PlannedLine
from lab.plan.remedies import HEADROOM, make
from lab.plan.text import render

__all__ = ["HEADROOM", "Plan", "PlannedLine", "compose_blocks", "make", "render", "sysctl_file"]
