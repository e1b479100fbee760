"""Which room may use which."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("loadgen/**/*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_loadgen_knows_nothing_of_the_lab(path: Path) -> None:
    assert not {name for name in imported(path) if name.split(".")[0] in {"lab", "tests", "bench"}}


@pytest.mark.parametrize(
    "name",
    ["rows", "numbers", "headline", "page/series", "page/figures", "page/marks", "page/charts"],
)
def test_what_reports_say_is_worked_out_without_files_and_clocks(name: str) -> None:
    """The writers' pure part: no socket, clock, file or trio."""
    path = ROOT / "loadgen" / "report" / f"{name}.py"
    assert not imported(path) & {"pathlib", "socket", "time", "trio", "os", "subprocess"}
