"""What every page is made of: templates, our own assets, and the charts' data. One file, offline.

Style, script, uPlot and data are inside the page. Its content security policy forbids it all network
access and every script but its own two, named by their hashes, so that text from a tuning file or a
host name stays text even if it were not escaped; it is.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from loadgen.foreign import harmless
from loadgen.report import numbers
from loadgen.report.page import figures
from loadgen.report.page.figures import Figure, Plates

ASSETS: Final = Path(__file__).parent / "assets"


class _Page(Template):
    """A template whose pages have nothing in them that a reader does not see."""

    def render(self, *args: Any, **context: Any) -> str:
        """Return the page."""
        return harmless(super().render(*args, **context))


@cache
def environment(*folders: Path) -> Environment:
    """Return jinja's environment: every value is escaped unless it is our own markup.

    Args:
        folders: further places of templates, beside the ones here.
    """
    found = Environment(
        loader=FileSystemLoader([*folders, ASSETS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.template_class = _Page
    found.globals["text"] = numbers
    found.filters["sentence"] = numbers.sentence
    found.filters["breakable"] = _breakable
    return found


def _breakable(name: str) -> Markup:
    """Return a dotted name that a narrow column may break after its dots and underscores."""
    return Markup("<wbr>").join(re.findall(r"[^._]*[._]?", name))


@cache
def asset(name: str) -> Markup:
    """Return one of our own files, to stand in the page as it is."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))  # noqa: S704 - our own files


def style() -> Markup:
    """Return the style of every page."""
    return asset("uPlot.min.css") + asset("page.css")


def drawing(plates: Plates) -> dict[str, Any]:
    """Return what the templates need to show charts: their context, scripts, policy and data."""
    # The MIT licence asks to go with every copy, and each page is one.
    licence = Markup("/*!\n{}*/\n").format(asset("uPlot.LICENSE"))
    scripts = [licence + asset("uPlot.iife.min.js"), asset("page.js")]
    return {
        "time_figures": [_context(figure) for figure in plates.time],
        "percentile_figures": [_context(figure) for figure in plates.percentile],
        "markers": plates.markers,
        "absent": plates.absent,
        "style": style(),
        "scripts": scripts,
        "policy": " ".join(f"'{_digest(str(script))}'" for script in scripts),
        "payload": _payload(plates),
    }


def _context(figure: Figure) -> dict[str, Any]:
    header, rows = figures.table(figure)
    return {"figure": figure, "header": header, "rows": rows}


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _rounded(values: Iterable[float | None], *, positive: bool) -> list[float | None]:
    """Return values with 6 significant digits; on a logarithmic axis nothing below zero."""
    return [
        None if value is None or (positive and value <= 0) else float(f"{value:.6g}")
        for value in values
    ]


def _payload(plates: Plates) -> Markup:
    """Return the charts' data as JSON that is safe inside a script element."""
    drawn = [
        {
            "id": figure.id,
            "axis": figure.axis,
            "log": figure.log,
            "steps": figure.steps,
            "readings": figure.readings,
            "quantity": figure.quantity,
            "x": figure.x,
            "lines": [
                {
                    "ink": line.ink,
                    "dash": line.dash,
                    "values": _rounded(line.values, positive=figure.log),
                    "low": _rounded(line.low, positive=figure.log),
                    "high": _rounded(line.high, positive=figure.log),
                }
                for line in figure.lines
            ],
        }
        for figure in (*plates.time, *plates.percentile)
    ]
    marks = [{"key": mark.key, "t": mark.t, "ink": mark.ink} for mark in plates.markers]
    raw = msgspec.json.encode({"figures": drawn, "markers": marks, "end": plates.end}).decode()
    for sign in "<>&\u2028\u2029":
        raw = raw.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(raw)  # noqa: S704 - every sign that HTML could act on was just replaced
