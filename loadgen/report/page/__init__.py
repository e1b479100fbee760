"""Pages: one offline HTML file each, for a person who was not there.

The page of one run is here, and the kit that every page is made of (`series`, `figures`, `charts`,
`marks`, `frame`, templates and script), which the lab uses for its comparisons.
"""

from __future__ import annotations

from pathlib import Path

from loadgen.files import write_whole
from loadgen.report.page import run
from loadgen.report.page.run import PAGE
from loadgen.run.stored import Salvaged

__all__ = ["PAGE", "write"]


def write(found: Salvaged) -> Path:
    """Write a run's page into its directory and return the page's path.

    Raises:
        OSError: when it cannot be written.
    """
    path = found.path / PAGE
    write_whole(path, run.render(found, run.beside(found)).encode())
    return path
