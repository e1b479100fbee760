"""From what a server says of itself to the metrics of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from loadgen.metrics import Metric
from loadgen.summary import Number

_LONGEST = 20
"""Digits of the largest number of 64 bits."""


def number(text: bytes) -> Number | None:
    """Return the finite number that `text` is; None for anything else. Never raises."""
    if not text.isascii() or len(text) > 2 * _LONGEST:
        return None
    if text.isdigit():
        return int(text) if len(text) <= _LONGEST else None
    whole, _, part = text.partition(b".")
    return float(text) if whole.isdigit() and part.isdigit() else None


def selector(
    program: str,
    metrics: Sequence[Metric],
    fields: Callable[[bytes], Iterable[tuple[bytes, bytes]]],
) -> Callable[[bytes], dict[str, Number]]:
    """Return a function from a server's answer to those of the catalogue's metrics that are in it.

    Args:
        program: the server's name; the metric PROGRAM_x is its field x.
        metrics: the catalogue's, PROGRAM_up and PROGRAM_targets among them or not.
        fields: the names and values in an answer.
    """
    prefix = f"{program}_"
    names = {metric.name.removeprefix(prefix).encode(): metric.name for metric in metrics}

    def select(text: bytes) -> dict[str, Number]:
        found: dict[str, Number] = {}
        for field, value in fields(text):
            name, figure = names.get(field), number(value)
            if name is not None and figure is not None:
                found[name] = figure
        return found

    return select
