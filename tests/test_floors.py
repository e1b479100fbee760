"""The packages have floors: a room may import what lies below it, and nothing else.

Lazy imports count. docs/design.md says what each room is for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
FLOORS: Final = {
    "loadgen": (
        {"units", "errors"},
        {"foreign"},
        {"outcome", "target", "search", "files"},
        {"config"},
        {"summary"},
        {"sample"},
        {"accounting", "metrics"},
        {"protocols"},
        {"thresholds", "sampling", "engine"},
        {"diagnosis", "watch"},
        {"run"},
        {"report"},
        {"fleet"},
        {"cli"},
    ),
    "lab": (
        {"sysctl"},
        {"capacity"},
        {"analysis", "testbed"},
        {"plan", "trials", "doctor"},
        {"tunings", "report"},
        {"sweep", "ablate", "claims", "compose", "vm"},
        {"schemas"},
        {"cli"},
    ),
}
"""From the ground up. Rooms on one floor do not know each other."""
ENTRIES: Final = {"__init__", "__main__"}
MOST: Final = {"loadgen": 22, "lab": 18}
"""Rooms that a reader can keep in mind."""
IMPURE: Final = frozenset(
    {
        *("asyncio", "http", "io", "multiprocessing", "os", "pathlib", "resource"),
        *("select", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "threading"),
        *("time", "trio", "urllib.request", "docker", "pymemcache"),
    }
)

HARMLESS: Final = frozenset({"os.strerror", "io.StringIO"})
"""From modules with files and clocks, but a table of words, and text in memory."""


def name_of(path: Path) -> str:
    """Return the dotted name of the module in a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(package: str) -> dict[str, Path]:
    """Return the files of a package by dotted name."""
    return {name_of(path): path for path in sorted((ROOT / package).rglob("*.py"))}


MODULES: Final = {name: path for package in FLOORS for name, path in modules(package).items()}


def imported(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, wherever in it, for a type checker's eyes too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                within = f"{node.module}.{alias.name}"
                yield within if within in MODULES or within in HARMLESS else node.module


def room(module: str) -> str:
    """Return the top-level room of a module."""
    return module.split(".")[1] if "." in module else "__init__"


def floor_of(module: str) -> int:
    """Return on which floor a module's room lies."""
    package = module.split(".", maxsplit=1)[0]
    for number, rooms in enumerate(FLOORS[package]):
        if room(module) in rooms:
            return number
    raise LookupError(f"{module} lies on no floor: add its room to FLOORS")


def arrows_up(package: str) -> list[str]:
    """Return the imports between rooms of a package that do not lead down."""
    found = []
    for module, path in modules(package).items():
        if room(module) in ENTRIES:
            continue
        for other in imported(path):
            if other not in MODULES or not other.startswith(f"{package}."):
                continue
            if room(other) in {room(module), *ENTRIES}:
                continue
            if floor_of(other) >= floor_of(module):
                found.append(f"{module} imports {other}")
    return found


@pytest.mark.parametrize("package", FLOORS)
def test_imports_lead_down(package: str) -> None:
    assert arrows_up(package) == []


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor_and_there_are_few(package: str) -> None:
    rooms = {room(module) for module in modules(package)} - ENTRIES
    assert rooms == set().union(*FLOORS[package])
    assert len(rooms) <= MOST[package]


def test_loadgen_knows_nothing_of_the_lab_nor_either_of_tests() -> None:
    for package, strangers in {
        "loadgen": {"lab", "tests", "bench"},
        "lab": {"tests", "bench"},
    }.items():
        for module, path in modules(package).items():
            outside = {name.split(".", maxsplit=1)[0] for name in imported(path)}
            assert not outside & strangers, module


def documented_as_pure() -> dict[str, tuple[str, Path]]:
    """Return the files of the rooms that docs/design.md calls pure."""
    text = (ROOT / "docs" / "design.md").read_text()
    found: dict[str, tuple[str, Path]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) < 3 or cells[1] != "pure":
            continue
        for written in cells[0].replace("`", "").split():
            path = ROOT / written
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
            assert all(file.is_file() for file in files), f"docs/design.md names {written}"
            found |= {str(file.relative_to(ROOT)): (written, file) for file in files}
    return found


PURE: Final = documented_as_pure()


def test_the_design_calls_much_of_it_pure() -> None:
    assert len(PURE) >= 90


@pytest.mark.parametrize("file", PURE)
def test_what_the_design_calls_pure_is(file: str) -> None:
    """No socket, clock, file, subprocess or trio."""
    assert not set(imported(PURE[file][1])) & IMPURE
