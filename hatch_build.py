"""Puts man pages and shell completions into the wheel, made from the commands at build time."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualHook(BuildHookInterface[Any]):
    """Adds what `tools/manual.py` makes to the wheel's share/."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files; an editable install goes without."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        try:
            from tools.manual import write  # noqa: PLC0415 - the checkout is not on the path before
        finally:
            sys.path.remove(self.root)
        self._made = tempfile.TemporaryDirectory()
        for path in write(Path(self._made.name)):
            build_data["shared_data"][f"{self._made.name}/{path}"] = f"share/{path}"

    def finalize(self, *_: Any) -> None:
        """Remove what was made."""
        made: tempfile.TemporaryDirectory[str] | None = getattr(self, "_made", None)
        if made is not None:
            made.cleanup()
