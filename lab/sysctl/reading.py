"""From the bytes of a file to the lines of a sysctl.d file, whatever the lines came wrapped in. Pure.

A sysctl.d file is bytes to the tools of a host: sysctl(8) and systemd-sysctl hand on what stands
between `=` and the end of the line, and neither knows an encoding. So a comment may be in any
encoding, but two beginnings of a file are traps, both tried with procps 4.0 and systemd 252:

- A byte-order mark is no blank to them. Before a comment it makes a line without `=`, at which they
  grumble; before a key it makes the key one that no kernel has, and the first setting is lost.
- UTF-16 is a zero byte after each letter: no line of it is read.

Four common wrappers are read as what they stand for: a tuned profile (the section `[sysctl]`), the
`sysctls` of a compose file or a Kubernetes pod, and the `--sysctl` options of `docker run`. What a
wrapper says beside its sysctls is left out, and told. Each setting keeps the number of its line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from lab.sysctl.tuning import Tuning, TuningError, place, read_lines

_MARK: Final = "\ufeff".encode()
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_SECTION: Final = re.compile(r"^\s*\[(?P<name>[^\]]+)\]\s*$")
_OPTION: Final = re.compile(r"(^|\s)--sysctl([\s=]|$)")
_YAML_KEY: Final = re.compile(r"(^|[\s{,])[\"']?sysctls[\"']?\s*:", re.MULTILINE)
_QUOTED: Final = re.compile(r"""^(['"])(?P<inside>.*)\1$""")
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}")
_DEEPEST: Final = 200
"""Columns of indentation that a YAML file may have: its parser recurses once a level."""


@dataclass(frozen=True, slots=True)
class FileReading:
    """What a file says, as numbered lines of a sysctl.d file."""

    lines: tuple[tuple[int, str], ...]
    text: str
    """The file as it was; of a wrapped one the lines that were read from it."""
    notes: tuple[str, ...] = ()


def read(content: bytes, *, name: str, source: str) -> Tuning:
    """Return the tuning that a file holds.

    Args:
        content: of the file.
        name: what the tuning is called in reports.
        source: the file's path as the user gave it.

    Raises:
        TuningError: naming source, line, offender and remedy.
    """
    found = _unwrap(*_decode(content, name, source), name=name, source=source)
    return read_lines(found.lines, text=found.text, name=name, source=source, notes=found.notes)


def _decode(content: bytes, name: str, source: str) -> tuple[str, list[str]]:
    """Return the text, and notes on its encoding.

    Raises:
        TuningError: when it is no text, or the tools of a host would lose a line of it.
    """
    here = place(name, source, 1)
    if content.startswith(_UTF_16):
        raise TuningError(
            f"{here}: UTF-16 text, of which sysctl(8) reads no line; convert it: "
            f"iconv -f UTF-16 -t UTF-8 {shlex.quote(source)}"
        )
    notes = []
    if content.startswith(_MARK):
        content = content.removeprefix(_MARK)
        first = content.split(b"\n", 1)[0].strip()
        if first and first[:1] not in {b"#", b";"}:
            raise TuningError(
                f"{here}: a byte-order mark stands before the first key, and sysctl(8) and "
                "systemd-sysctl take it for a part of the key and lose the line; remove it: "
                f"sed -i '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(source)}"
            )
        notes.append(
            "line 1: begins with a byte-order mark, at which sysctl(8) and systemd-sysctl grumble; "
            "no setting is lost by it"
        )
    lines = []
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if b"\0" in raw:
            raise TuningError(
                f"{place(name, source, number)}: a zero byte; this is no text: give a sysctl.d file"
            )
        try:
            lines.append(raw.decode())
        except UnicodeDecodeError as error:
            if raw.strip()[:1] not in {b"#", b";"}:
                raise TuningError(
                    f"{place(name, source, number)}: byte 0x{raw[error.start]:02X} is not UTF-8 "
                    "text; type the line anew"
                ) from None
            # To the tools a comment is bytes that they pass over.
            lines.append(raw.decode(errors="replace"))
    return "\n".join(lines), notes


def _unwrap(text: str, notes: list[str], *, name: str, source: str) -> FileReading:
    """Return the lines of a text, out of their wrapper if they have one; raises as `read`."""
    lines = text.split("\n")
    bare = [line for line in lines if line.strip() and line.strip()[0] not in "#;"]
    if any(_SECTION.match(line) for line in bare):
        return _profile(lines, notes, name, source)
    if any(_OPTION.search(line) for line in bare):
        return _wrapped(_options(lines, name, source), "docker run's --sysctl options", notes)
    if source.endswith((".yml", ".yaml")) or _YAML_KEY.search("\n".join(bare)):
        return _wrapped(_yaml(text, name, source), "the sysctls of a YAML file", notes)
    return FileReading(tuple(enumerate(lines, start=1)), text, tuple(notes))


def _wrapped(lines: list[tuple[int, str]], kind: str, notes: list[str]) -> FileReading:
    text = "".join(f"{line}\n" for _, line in lines)
    return FileReading(
        tuple(lines), text, (*notes, f"read as {kind}; what else it says is left out")
    )


def _profile(lines: list[str], notes: list[str], name: str, source: str) -> FileReading:
    """Read the section [sysctl] of a tuned profile (tuned-profiles(7), tuned.conf(5))."""
    section, found, others, seen = "", [], [], False
    for number, line in enumerate(lines, start=1):
        bare = line.strip()
        if not bare or bare[0] in "#;":
            continue
        if (match := _SECTION.match(line)) is not None:
            section = match["name"]
            seen = seen or section == "sysctl"
            if section != "sysctl":
                others.append(section)
            continue
        key, equals, value = (part.strip() for part in bare.partition("="))
        if section != "sysctl":
            if section == "main" and key == "include":
                notes.append(f"line {number}: includes the profile {value}, which is not read")
            continue
        if not equals:
            found.append((number, bare))  # refused as any other line without '='
            continue
        if _VARIABLE.search(value) is not None:
            raise TuningError(
                f"{place(name, source, number)}: {key} = {value} is computed by tuned; write the "
                f"value that it has on the host: sysctl -n {key}"
            )
        if value[:1] in {">", "<"}:
            # tuned sets such a value only where it raises, or lowers, the one in force.
            notes.append(
                f"line {number}: {key}: tuned sets it only where it {'raises' if value[0] == '>' else 'lowers'} "
                "the value in force; here it is set"
            )
            value = value[1:].lstrip("=").strip()
        quoted = _QUOTED.match(value)
        found.append((number, f"{key} = {quoted['inside'] if quoted else value}"))
    if not seen:
        raise TuningError(
            f"{source}: sections {', '.join(f'[{other}]' for other in dict.fromkeys(others))} and "
            "no [sysctl]; of a tuned profile only that section is a tuning"
        )
    left = f", not {', '.join(f'[{other}]' for other in dict.fromkeys(others))}" if others else ""
    notes.append(f"read as a tuned profile: its section [sysctl]{left}")
    return FileReading(tuple(found), "".join(f"{line}\n" for _, line in found), tuple(notes))


def _options(lines: list[str], name: str, source: str) -> list[tuple[int, str]]:
    """Read `--sysctl KEY=VALUE` and `--sysctl=KEY=VALUE` among the words of a command."""
    found, pending = [], False
    for number, line in enumerate(lines, start=1):
        try:
            words = shlex.split(line.rstrip().removesuffix("\\"), comments=True)
        except ValueError as error:
            raise TuningError(
                f"{place(name, source, number)}: {error}; write the options as a shell takes them"
            ) from None
        for word in words:
            if pending:
                found.append((number, word))
                pending = False
            elif word == "--sysctl":
                pending = True
            elif word.startswith("--sysctl="):
                found.append((number, word.removeprefix("--sysctl=")))
    return found


def _yaml(text: str, name: str, source: str) -> list[tuple[int, str]]:
    """Read every `sysctls` of a YAML file: compose's list or mapping, Kubernetes' name and value."""
    deep = next((n for n, line in enumerate(text.split("\n"), 1) if _too_deep(line)), None)
    if deep is not None:
        raise TuningError(f"{place(name, source, deep)}: nested too deeply for a list of sysctls")
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = 1 if mark is None else mark.line + 1
        what = getattr(error, "problem", None) or "nested too deeply"
        raise TuningError(f"{place(name, source, line)}: no YAML: {what}") from None
    blocks = [block for node in documents if node is not None for block in _blocks(node)]
    if not blocks:
        raise TuningError(f"{source}: no sysctls in this YAML file; give a sysctl.d file")
    found = [list(_assignments(block)) for block in blocks]
    if len({tuple(sorted(line for _, line in one)) for one in found}) > 1:
        numbers = ", ".join(str(block.start_mark.line + 1) for block in blocks)
        raise TuningError(
            f"{source}: {len(blocks)} services with sysctls of their own (lines {numbers}); keep "
            "the ones to be tried in a file of their own, one key = value a line"
        )
    return found[0]


def _too_deep(line: str) -> bool:
    indent = len(line) - len(line.lstrip(" "))
    return indent > _DEEPEST or line.count("[") + line.count("{") > _DEEPEST


def _pairs(node: MappingNode) -> Iterator[tuple[str, Node]]:
    return ((str(key.value), value) for key, value in node.value)


def _blocks(node: Node) -> Iterator[Node]:
    """Yield what stands under each key `sysctls`."""
    if isinstance(node, MappingNode):
        for key, value in _pairs(node):
            if key == "sysctls":
                yield value
            else:
                yield from _blocks(value)
    elif isinstance(node, SequenceNode):
        for one in node.value:
            yield from _blocks(one)


def _assignments(block: Node) -> Iterator[tuple[int, str]]:
    """Yield each setting of one `sysctls` as a numbered line."""
    if isinstance(block, MappingNode):
        for key, value in _pairs(block):
            yield value.start_mark.line + 1, f"{key} = {value.value}"
    elif isinstance(block, SequenceNode):
        for one in block.value:
            number = one.start_mark.line + 1
            if isinstance(one, MappingNode):
                pair = {key: value.value for key, value in _pairs(one)}
                yield number, f"{pair.get('name', '')} = {pair.get('value', '')}"
            elif isinstance(one, ScalarNode):
                yield number, str(one.value)
