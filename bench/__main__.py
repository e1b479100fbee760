"""`python -m bench`: the list of measurements, each with its first sentence."""

from __future__ import annotations

import ast
from pathlib import Path

_NOT_A_MEASUREMENT = "__main__"


def measurements(directory: Path) -> dict[str, str]:
    """Return the modules of `directory` that are commands, with the first line of their docs."""
    found = {}
    for path in sorted(directory.glob("*.py")):
        tree = ast.parse(path.read_text())
        is_command = any(isinstance(n, ast.FunctionDef) and n.name == "main" for n in tree.body)
        if is_command and path.stem != _NOT_A_MEASUREMENT:
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def main() -> None:
    found = measurements(Path(__file__).parent)
    width = max(map(len, found))
    print("Measurements; each is `python -m bench.NAME`, with --help for its options:\n")
    for name, line in found.items():
        print(f"  {name:<{width}}  {line}")
    print("\nWhat they are for and what they showed: docs/performance.md")


if __name__ == "__main__":
    main()
