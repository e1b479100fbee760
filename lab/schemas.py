"""The JSON Schemas of all that this project writes, as docs/schema publishes them."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any, Final

import msgspec

from lab.ablate.records import ABLATION_SCHEMA, LINES_SCHEMA, Ablation, TuningLines
from lab.analysis.records import COMPARISON_SCHEMA, EXPERIMENT_SCHEMA, Comparison, Experiment
from lab.claims.records import BY_KERNEL_SCHEMA, CLAIMS_SCHEMA, ByKernel, Claims
from lab.plan.records import PLAN_SCHEMA, Plan
from lab.sweep.records import SWEEP_SCHEMA, VALIDATION_SCHEMA, Sweep, Validation
from loadgen.fleet.record import Fleet
from loadgen.run.conclude import About
from loadgen.sample import Sample
from loadgen.sampling.snapshots import SCHEMA as SNAPSHOT_SCHEMA
from loadgen.sampling.snapshots import Kept
from loadgen.summary import SCHEMA, Summary
from loadgen.watch.session import SCHEMA as WATCH_SCHEMA
from loadgen.watch.session import WatchLine

SCHEMAS: Final[dict[str, tuple[type[msgspec.Struct], str]]] = {
    "about.schema.json": (About, "churnlab.about/1"),
    "ablation.schema.json": (Ablation, ABLATION_SCHEMA),
    "claims.schema.json": (Claims, CLAIMS_SCHEMA),
    "claims-by-kernel.schema.json": (ByKernel, BY_KERNEL_SCHEMA),
    "comparison.schema.json": (Comparison, COMPARISON_SCHEMA),
    "experiment.schema.json": (Experiment, EXPERIMENT_SCHEMA),
    "fleet.schema.json": (Fleet, "churnlab.fleet/1"),
    "lines.schema.json": (TuningLines, LINES_SCHEMA),
    "plan.schema.json": (Plan, PLAN_SCHEMA),
    "run.schema.json": (Summary, SCHEMA),
    "sample.schema.json": (Sample, "one line of samples.jsonl"),
    "snapshot.schema.json": (Kept, SNAPSHOT_SCHEMA),
    "sweep.schema.json": (Sweep, SWEEP_SCHEMA),
    "validation.schema.json": (Validation, VALIDATION_SCHEMA),
    "watch.schema.json": (WatchLine, WATCH_SCHEMA),
}
"""Published under docs/schema: file, record and title."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) published under `name`, a key of `SCHEMAS`."""
    record, title = SCHEMAS[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_without_indentation(msgspec.json.schema(record)),
    }


def _without_indentation(found: Any) -> Any:
    """Return a schema whose descriptions are as Python 3.13 keeps docstrings, on any version."""
    if isinstance(found, dict):
        return {
            key: cleandoc(value)
            if key == "description" and isinstance(value, str)
            else _without_indentation(value)
            for key, value in found.items()
        }
    if isinstance(found, list):
        return [_without_indentation(value) for value in found]
    return found


def schema_text(name: str) -> str:
    """Return the schema as it is published."""
    return msgspec.json.format(msgspec.json.encode(schema(name)), indent=2).decode() + "\n"
