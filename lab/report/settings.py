"""The settings of an experiment as its page shows them: as read back, not as asked for. Pure."""

from __future__ import annotations

from typing import Any, Final

from lab.analysis.records import Arm, Experiment
from loadgen.units import spaced

_UNREADABLE: Final = "not read"


def _read_back(experiment: Experiment, arm: str) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for trial in experiment.trials:
        if trial.arm == arm:
            for role, settings in trial.sysctls.items():
                for key, value in settings.items():
                    found.setdefault((role, key), set()).add(spaced(value))
    return found


def _sysctl_cell(arm: Arm, role: str, key: str, values: set[str]) -> dict[str, Any]:
    shown = " | ".join(sorted(values)) if values else _UNREADABLE
    asked = arm.asked(role).get(key)
    wanted = None if asked is None else spaced(asked)
    return {
        "value": shown,
        "asked": wanted,
        "set": values == {wanted},
        "varies": len(values) > 1,
        "refused": bool(wanted is not None and values and values != {wanted}),
    }


def sysctl_rows(experiment: Experiment) -> list[dict[str, Any]]:
    """Return each setting by role: in a fresh namespace, before and after as read back.

    Rows in which nothing differs and nothing was asked for come last. Where client and server
    agree in every column they share a row.
    """
    arms = experiment.arms[:2]
    by_arm = [_read_back(experiment, arm.name) for arm in arms]
    fresh = {
        (role, key): spaced(value)
        for role, settings in experiment.baseline.items()
        for key, value in settings.items()
    }
    places = sorted({*fresh, *(place for found in by_arm for place in found)})
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for role, key in places:
        cells = [
            _sysctl_cell(arm, role, key, found.get((role, key), set()))
            for arm, found in zip(arms, by_arm, strict=True)
        ]
        default = fresh.get((role, key), _UNREADABLE)
        readings = {default, *(cell["value"] for cell in cells)} - {_UNREADABLE}
        signature = (key, repr((default, cells)))
        if signature in rows:
            rows[signature]["roles"].append(role)
            continue
        rows[signature] = {
            "key": key,
            "roles": [role],
            "fresh": default,
            "cells": cells,
            "changed": len(readings) > 1,
            "asked": any(cell["set"] or cell["refused"] for cell in cells),
        }
    return sorted(rows.values(), key=lambda row: (not row["changed"], row["key"], row["roles"]))


def skipped(experiment: Experiment) -> list[str]:
    """Return one line for each line of a tuning that is out of scope here, and why."""
    lines = {
        f"{trial.arm}: {key} was not applied: {reason}": None
        for trial in experiment.trials
        for key, reason in trial.skipped.items()
    }
    return list(lines)
