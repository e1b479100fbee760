r"""Text from elsewhere, made harmless for whatever shows it. Pure.

A host's name, a version, what a server answered, the name of a file: none of it is ours, and all of
it ends in a report. A terminal obeys what it is shown (a title set, a screen cleared, a line turned
round), Markdown and HTML have marks of their own, a spreadsheet takes `=` for a formula. Each writer
takes text through the function here that is its own, as the last thing it does; what was taken out
stands as its escape, `\x1b`, so that a reader sees that there was something.

| medium | function |
|---|---|
| terminal, plain text | `harmless`; `one_line` for a message; `Harmless` around what rich draws |
| HTML, XML | `harmless`, beside the escaping of the template or of ElementTree |
| SVG | `markup` |
| Markdown | `markdown` |
| CSV | `cell` |
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from loadgen.units import spaced

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_HARMFUL: Final = re.compile(
    "["
    "\x00-\x08\x0b-\x1f"  # controls of ASCII, but for tab and line feed
    "\x7f-\x9f"  # DEL, and the controls of ISO 8859, which begin sequences as ESC does
    "\xad\u061c\u200b-\u200f\u2060-\u2064\ufeff"  # what is not seen
    "\u2028-\u202e\u2066-\u206f"  # lines and directions of their own
    "\ud800-\udfff\ufff9-\ufffb\ufffe\uffff"  # what is no character, or cannot be written
    "\U000e0000-\U000e0fff"  # tags
    "]"
)
_ACTIVE: Final = re.compile(r"([\\`*_{}\[\]<>#|~!&@$])")
"""What Markdown makes something of."""
_FORMULA: Final = ("=", "+", "-", "@", "\t")
_LONGEST_LINE: Final = 1000


def harmless(text: str) -> str:
    """Return text that a terminal, and any reader, takes for no more than what is seen of it."""
    return _HARMFUL.sub(lambda found: repr(found[0])[1:-1], text)


def one_line(text: str) -> str:
    r"""Return a message as a line that is one wherever it is shown.

    Whatever is no sign to be read stands as its escape, as `repr` has it: line breaks too. What is
    longer than 1,000 signs loses its middle: what is wrong stands at the beginning, and the remedy at
    the end.
    """
    if len(text) > _LONGEST_LINE:
        text = f"{text[: _LONGEST_LINE * 2 // 3]} … {text[-_LONGEST_LINE // 3 :]}"
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def markup(text: str) -> str:
    """Return text to stand in HTML or SVG, between tags or in an attribute."""
    return escape(harmless(text))


def markdown(text: str) -> str:
    """Return text so that Markdown shows it as it is, on one line, even in a table."""
    return _ACTIVE.sub(r"\\\1", harmless(spaced(text)))


def cell(value: object) -> object:
    """Return a cell of CSV that no spreadsheet takes for a formula; a number is what it is."""
    if not isinstance(value, str):
        return value
    text = harmless(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


class Harmless:
    """Something that rich draws, with all of its text made harmless; its colours are ours."""

    def __init__(self, drawn: RenderableType) -> None:
        self._drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        from rich.segment import Segment  # noqa: PLC0415 - whoever draws has imported it

        for segment in console.render(self._drawn, options):
            text, style, control = segment
            yield segment if control else Segment(harmless(text), style)
