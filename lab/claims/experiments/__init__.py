"""All experiments, by the type of what they measure."""

from __future__ import annotations

from typing import Any, Final

from lab.claims.experiments import conntrack, names, packets, ports, reuse, time_wait
from lab.claims.experiments.base import ClaimExperiment
from lab.claims.findings import Finding

__all__ = ["BY_FINDING", "ClaimExperiment"]

BY_FINDING: Final[dict[type[Finding], ClaimExperiment[Any]]] = {
    experiment.finding: experiment
    for module in (time_wait, reuse, conntrack, packets, ports, names)
    for experiment in module.EXPERIMENTS
}
"""The experiment that makes each type of finding."""
