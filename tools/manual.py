"""Man pages and shell completions, made from the commands themselves.

The build of the wheel makes them (hatch_build.py), so `--help`, `man` and completion say the same;
`python -m tools.manual DIR` writes them to look at. It needs click and msgspec only, as the build does.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click import shell_completion

from lab.cli import command_group as lab_group
from loadgen import __version__
from loadgen.cli import command_group as loadgen_group

_WIDTH = 1000
COMPLETIONS = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}


def roff(text: str) -> str:
    """Return text as roff takes it: no sign of it is an order."""
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(
        f"\\&{line}" if line.startswith((".", "'")) else line for line in safe.split("\n")
    )


def page(command: click.Command, context: click.Context) -> str:
    """Return one command's man page."""
    name = context.command_path.replace(" ", "-")
    summary = command.get_short_help_str(_WIDTH).rstrip(".")
    lines = [
        f'.TH "{name.upper()}" "1" "" "churnlab {__version__}" "churnlab"',
        ".SH NAME", f"{roff(name)} \\- {roff(summary)}",
        ".SH SYNOPSIS", f".B {roff(context.command_path)}",
        roff(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION", *paragraphs(inspect.cleandoc(command.help or "")),
    ]  # fmt: skip
    records = [
        record
        for param in command.get_params(context)
        if (record := param.get_help_record(context))
    ]
    if records:
        lines.append(".SH OPTIONS")
        for options, said in records:
            lines += [".TP", f".B {roff(options)}", roff(said) or "\\&"]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for verb in command.list_commands(context):
            found = command.get_command(context, verb)
            assert found is not None
            lines += [".TP", f".BR {roff(name)}\\-{roff(verb)} (1)"]
            lines.append(
                roff(getattr(command, "verbs", {}).get(verb) or found.get_short_help_str(_WIDTH))
            )
    if command.epilog:
        lines += [".SH NOTES", *paragraphs(command.epilog)]
    if context.parent is not None:
        lines += [".SH SEE ALSO", f".BR {roff(context.parent.command_path)} (1)"]
    return "\n".join(lines) + "\n"


def paragraphs(text: str) -> Iterator[str]:
    """Return paragraphs, each behind a line that begins one."""
    for number, part in enumerate(re.split(r"\n\s*\n", text)):
        if number:
            yield ".PP"
        yield roff(" ".join(part.replace("\b", "").split()))


def pages(group: click.Group, name: str) -> Iterator[tuple[str, str]]:
    """Return the man pages of a command and its verbs, by file name."""
    context = click.Context(group, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH)
    yield f"man/man1/{name}.1", page(group, context)
    for verb in group.list_commands(context):
        command = group.get_command(context, verb)
        assert command is not None
        inner = click.Context(
            command, parent=context, info_name=verb, terminal_width=_WIDTH, max_content_width=_WIDTH
        )
        yield f"man/man1/{name}-{verb}.1", page(command, inner)


def completion(group: click.Group, name: str, shell: str) -> str:
    """Return the script that completes a command in a shell."""
    kind = shell_completion.get_completion_class(shell)
    assert kind is not None
    made = kind(group, {}, name, f"_{name.upper()}_COMPLETE")
    # Not source(), which asks the bash at hand for its version.
    text: str = made.source_template % made.source_vars()
    return text.strip() + "\n"


def files() -> dict[str, str]:
    """Return all files under share/, by path."""
    found: dict[str, str] = {}
    for name, group in (("loadgen", loadgen_group()), ("lab", lab_group())):
        found |= dict(pages(group, name))
        for shell, path in COMPLETIONS.items():
            found[path.format(name)] = completion(group, name, shell)
    return found


def write(folder: Path) -> list[str]:
    """Write all files under a folder; return their paths in it."""
    made = files()
    for path, text in made.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return list(made)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
