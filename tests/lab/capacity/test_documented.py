"""Each formula of the model is in docs/capacity.md, and each of its labels is in the code."""

from __future__ import annotations

import re
from pathlib import Path

import lab.capacity

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "capacity.md"
_LABEL = re.compile(r"\b[PTCQNX][1-9]\b")


def _in_code() -> set[str]:
    folder = Path(lab.capacity.__file__).parent
    text = " ".join(path.read_text() for path in folder.glob("*.py"))
    found = set(_LABEL.findall(text))
    for first, last in re.findall(r"\b([PTCQNX][1-9]) to ([PTCQNX][1-9])\b", text):
        found |= {f"{first[0]}{n}" for n in range(int(first[1]), int(last[1]) + 1)}
    return found


def test_code_and_page_have_the_same_formulas() -> None:
    defined = set(re.findall(r"^\*\*([PTCQNX][1-9])\.", PAGE.read_text(), re.MULTILINE))
    assert defined == _in_code()
    assert len(defined) == 22


def test_every_formula_says_how_well_it_was_measured() -> None:
    parts = re.split(r"^\*\*(?=[PTCQNX][1-9]\.)", PAGE.read_text(), flags=re.MULTILINE)[1:]
    silent = [part[:2] for part in parts if "easured" not in part.split("\n## ")[0]]
    assert silent == []


def test_the_page_has_the_table_of_a_real_validation() -> None:
    table = PAGE.read_text().split("## Predicted and measured")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 6
    assert all(row.rstrip().endswith("| yes |") for row in rows)
