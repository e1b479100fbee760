"""`comparison.json`, and the JSON Schemas of all that this project writes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lab.claims.records import CLAIMS_SCHEMA, Claims
from lab.records import COMPARISON_SCHEMA, EXPERIMENT_SCHEMA, Comparison, Experiment
from loadgen.sample import Sample
from loadgen.summary import SCHEMA, Summary, encode

SCHEMAS: Final[dict[str, tuple[type[msgspec.Struct], str]]] = {
    "claims.schema.json": (Claims, CLAIMS_SCHEMA),
    "comparison.schema.json": (Comparison, COMPARISON_SCHEMA),
    "experiment.schema.json": (Experiment, EXPERIMENT_SCHEMA),
    "run.schema.json": (Summary, SCHEMA),
    "sample.schema.json": (Sample, "one line of samples.jsonl"),
}
"""Published under docs/schema: file, record and title."""


def render(comparison: Comparison) -> str:
    """Return the comparison as indented JSON."""
    return encode(comparison).decode()


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) published under `name`, a key of `SCHEMAS`."""
    record, title = SCHEMAS[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **msgspec.json.schema(record),
    }


def schema_text(name: str) -> str:
    """Return the schema as it is published."""
    return msgspec.json.format(msgspec.json.encode(schema(name)), indent=2).decode() + "\n"
