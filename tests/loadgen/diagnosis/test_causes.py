"""The catalogue of causes: one home for their words, and nothing in it that nobody ever saw."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from loadgen.diagnosis.__main__ import page
from loadgen.diagnosis.causes import CATALOGUE, UNEXPLAINED
from loadgen.diagnosis.kinds import CauseKind, filled
from loadgen.summary import Evidence
from tests.faults.catalogue import FAULTS

ROOT = Path(__file__).parents[3]
RULES = sorted((ROOT / "loadgen/diagnosis").glob("*.py"))


def test_the_page_is_up_to_date() -> None:
    """If not: `python -m loadgen.diagnosis > docs/causes.md`."""
    assert (ROOT / "docs/causes.md").read_text() == page()


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_only_the_catalogue_makes_causes(path: Path) -> None:
    made = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"Cause", "CauseKind"}
    ]
    assert path.name in {"causes.py", "kinds.py"} or not made


def test_every_cause_was_provoked() -> None:
    """By a real fault, or, where no test machine can be brought to it, by made-up counters."""
    real = {cause for fault in FAULTS for cause in fault.causes}
    made_up = (Path(__file__).parent / "test_rules.py").read_text()
    assert [name for name in CATALOGUE if name not in real and f'"{name}"' not in made_up] == []
    assert real <= set(CATALOGUE)


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.name)
def test_its_texts_read_well_with_no_slot_filled(kind: CauseKind) -> None:
    assert re.fullmatch("[a-z]+(_[a-z]+)*", kind.name)
    for text in (filled(kind.title), filled(kind.remedy)):
        assert text == text.strip() == text.rstrip(".")
        assert not re.search(r"  |[{}]| [,;:.)]", text)


def test_slots_are_filled_once_and_what_fills_them_is_taken_as_it_is() -> None:
    cause = UNEXPLAINED.explains(1, [], words={"ruled_out": " ({ruled_out})"})
    assert cause.title == "no counter explains these ({ruled_out})"
    assert UNEXPLAINED.explains(1, []).title == "no counter explains these"


@pytest.mark.parametrize(
    ("moments", "given", "expected"),
    [
        ([], None, None),
        ([None], None, None),
        ([None, 2.0, 1.0], None, 1.0),
        ([-0.5, 3.0], None, 3.0),  # read before the run
        ([1.0], 2.0, 2.0),
    ],
)
def test_it_begins_with_the_earliest_evidence_unless_the_rule_knows_better(
    moments: list[float | None], given: float | None, expected: float | None
) -> None:
    evidence = [Evidence(metric="m", value=1, role="client", at=at, text="") for at in moments]
    assert UNEXPLAINED.explains(1, evidence, first_at=given).first_at == expected
