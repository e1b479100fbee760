"""The source as others meet it: importable, typed, and with a reason for every exception it makes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path for top in ("bench", "lab", "loadgen", "tests") for path in (ROOT / top).rglob("*.py")
]
_EXCEPTION = re.compile(r"#\s*noqa\b(?!: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)* - \S)")


def test_every_noqa_names_its_rule_and_its_reason() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _EXCEPTION.search(line)
    ]
    assert found == []


_NO_REMEDY = {"FileExistsError", "ThresholdError", "TuningError", "ValueError"}
"""Python's own, and two that are lines or point at a character."""
_REMEDY = re.compile(r"; (?:add|choose|give|install|load|omit|remove|run|use|write) ")


def test_what_an_error_advises_is_its_remedy_and_no_part_of_its_problem() -> None:
    """A report shows the two apart, and nobody is to look for the seam."""
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in FILES
        if path.is_relative_to(ROOT / "lab") or path.is_relative_to(ROOT / "loadgen")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id.endswith("Error")
        and call.func.id not in _NO_REMEDY
        and any(_REMEDY.search(ast.unparse(argument)) for argument in call.args[:1])
    ]
    assert found == []


@pytest.mark.parametrize("package", ["loadgen", "lab"])
def test_a_checkout_can_be_imported_without_being_installed(package: str) -> None:
    """Without site-packages (-S) there is no metadata of an installed package, nor any other."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {package}; print({package}.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == str(ROOT / package / "__init__.py")


@pytest.mark.parametrize("package", ["loadgen", "lab"])
def test_the_packages_say_that_they_are_typed(package: str) -> None:
    """PEP 561; type checkers ignore the annotations of a package without the file."""
    assert (ROOT / package / "py.typed").read_bytes() == b""
