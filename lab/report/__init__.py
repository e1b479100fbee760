"""Reports: peers that each turn the same comparison into one text.

`write_all` rebuilds every file of an experiment's reports from its run directories, and
`compare_across` puts any two stored runs or experiments beside each other.
"""

from __future__ import annotations

from lab.report.across import compare_across
from lab.report.writing import (
    COMPARISON,
    JUNIT,
    MARKDOWN,
    compare_stored,
    compared,
    reports_index,
    samples,
    write_all,
    write_reports,
)
from loadgen.report.page import PAGE

__all__ = [
    "COMPARISON",
    "JUNIT",
    "MARKDOWN",
    "PAGE",
    "compare_across",
    "compare_stored",
    "compared",
    "reports_index",
    "samples",
    "write_all",
    "write_reports",
]
