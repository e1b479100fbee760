"""What rich draws, as plain text for a pipe or a file: the only place where that is done. Pure."""

from __future__ import annotations

from rich.console import Console, RenderableType

from loadgen.foreign import Harmless


def plain(drawn: RenderableType, width: int = 100) -> str:
    """Return what `drawn` looks like at `width` columns, without colours or trailing blanks."""
    console = Console(width=width, color_system=None, force_terminal=False, no_color=True)
    with console.capture() as capture:
        console.print(Harmless(drawn))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
