"""What `lab plan`, `lab sweep` and `lab ablate` write is what their published schemas say."""

from __future__ import annotations

import jsonschema
import msgspec
import pytest

from lab import schemas
from tests.lab.ablate.worlds import ablation, lines_of
from tests.lab.plan.test_remedies import planned
from tests.lab.sweep.test_render import capacity, check, sweep, validation

LINES = lines_of(["net.ipv4.tcp_tw_reuse"])
WRITTEN: list[tuple[str, msgspec.Struct]] = [
    ("plan.schema.json", planned(20_000, tracked=True)),
    ("sweep.schema.json", sweep(capacity())),
    ("validation.schema.json", validation(check(), check(measured=None))),
    ("lines.schema.json", LINES),
    ("ablation.schema.json", ablation(LINES, {"none": [0.5] * 6, "all": [0.0] * 6})),
]


@pytest.mark.parametrize(("name", "record"), WRITTEN, ids=[name for name, _ in WRITTEN])
def test_schema_validates_what_is_written(name: str, record: msgspec.Struct) -> None:
    validator = jsonschema.Draft202012Validator(schemas.schema(name))
    written = msgspec.json.decode(msgspec.json.encode(record))
    validator.validate(written)
    assert not validator.is_valid(written | {"schema": 1})
    assert not validator.is_valid(written | {"surprise": 1})
