"""Command lines that nobody types on purpose: each ends as promised, and takes no number as it comes.

The large count is `python -m bench.command_lines`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
import pytest

import lab.cli
import loadgen.cli
from tests.fuzz.lines import HUGE, NAMED, SANE, Lines, commands
from tests.fuzz.running import run

GROUPS: Final = [("loadgen", loadgen.cli.command_group()), ("lab", lab.cli.command_group())]
KNOWN: Final = commands(GROUPS)


@pytest.mark.kernel
def test_every_line_ends_as_promised() -> None:
    found = run(seed=17, first=0, count=600)
    assert found.faults == []
    assert found.lines == 600


def test_every_verb_and_most_options_are_drawn() -> None:
    """That nothing was found says nothing of what was not tried."""
    lines = Lines(KNOWN, 17)
    drawn = [lines.line(number) for number in range(3000)]
    assert drawn[5] == lines.line(5)
    for words, command in KNOWN.items():
        mine = [line for line in drawn if tuple(line[: len(words)]) == words]
        assert mine, words
        said = {word.partition("=")[0] for line in mine for word in line}
        flags = [flag for option in command.params for flag in option.opts if flag.startswith("--")]
        assert len(said.intersection(flags)) >= len(flags) / 2, words


def _options() -> Iterator[Any]:
    for words, command in KNOWN.items():
        for parameter in command.params:
            if not (isinstance(parameter, click.Option) and parameter.is_flag):
                yield pytest.param(command, parameter, id=f"{' '.join(words)} {parameter.name}")


@pytest.mark.parametrize(("command", "parameter"), [*_options()])
def test_a_number_has_a_bound(command: click.Command, parameter: click.Parameter) -> None:
    """Whatever an option takes for a number fits a record's integer, and is one."""
    kind = parameter.type
    assert kind not in {click.INT, click.FLOAT}
    if isinstance(kind, click.IntRange):
        assert None not in {kind.min, kind.max}
    context = click.Context(command)
    for text in _numbers(kind.name, parameter.name or ""):
        try:
            value = kind.convert(text, parameter, context)
        except click.BadParameter:
            continue
        for number in _within(value):
            assert abs(number) < 2**63, text[:40]


def _numbers(kind: str, name: str) -> Iterator[str]:
    """Yield numbers that are too much, alone and in the place of each one of a sane value."""
    for number in HUGE:
        yield number
        for sane in (*SANE.get(kind, ()), *NAMED.get(name, ())):
            for found in re.finditer(r"\d+(\.\d+)?", sane):
                yield sane[: found.start()] + number + sane[found.end() :]


def _within(value: object) -> Iterator[float]:
    if isinstance(value, int | float):
        assert not math.isnan(value)
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _within(one)
    elif isinstance(value, Mapping):
        yield from _within([*value.values()])
