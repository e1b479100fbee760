"""What both commands, `loadgen` and `lab`, share: lazy verbs, one-line errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from loadgen.errors import ChurnlabError, Exit
from loadgen.files import is_full, unwritten, write_result
from loadgen.foreign import harmless, one_line
from loadgen.units import shortened


def write_to(where: str | Path | None, data: bytes) -> None:
    """Write what an option such as `--json FILE|-` asks for: `-` is stdout; None asks for nothing.

    A program that reads stdout gets the data as they are, a terminal what is harmless of them.

    Raises:
        WriteError: when the file cannot be written.
    """
    if where is None:
        return
    if where == "-":
        if sys.stdout.isatty():
            tell(data.decode(errors="replace"), nl=False)
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
        return
    write_result(where, data)


class LazyGroup(click.Group):
    """A group whose verbs are modules, imported when they are called and not for `--help`.

    Args:
        package: where the verbs' modules are; each has a click command named `command`.
        verbs: each verb and its line in the help.
    """

    def __init__(self, *, package: str, verbs: Mapping[str, str], **options: Any) -> None:
        super().__init__(
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            **options,
        )
        self._package = package
        self.verbs = verbs
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_version,
                help="Show the version and exit.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse words that no record can hold: what is asked for goes into JSON as it is."""
        for word in args:
            try:
                word.encode()
            except UnicodeEncodeError:
                reason = "is not UTF-8; rename what it names"
            else:
                reason = "holds a NUL; leave it out" if "\0" in word else ""
            if reason:
                raise click.UsageError(f"the word {shortened(word)} {reason}", ctx)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs in the order a newcomer meets them."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the verb's module."""
        if cmd_name not in self.verbs:
            return None
        command = import_module(f"{self._package}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.verbs.items()))


def _print_version(ctx: click.Context, _: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        from loadgen import __version__

        click.echo(f"{ctx.info_name} {__version__}")
        ctx.exit()


def tell(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text that may have come from anywhere: on stdout, or on stderr."""
    click.echo(harmless(text), err=err, nl=nl)


def say(message: str, kind: str = "error") -> None:
    """Print a message on stderr: one line, whatever a user or a file has put into it.

    Where it cannot be written, such as into a log on a disk that is full, the exit code still tells.
    """
    with suppress(OSError):
        click.echo(one_line(f"{kind}: {message}"), err=True)


def fail(message: str, code: Exit = Exit.USAGE) -> NoReturn:
    """Print one line on stderr and exit."""
    say(message)
    raise SystemExit(int(code))


def run_command(group: click.Group) -> NoReturn:
    """Run a command line; turn what was not foreseen into one line and exit code 1.

    The environment variable CHURNLAB_TRACEBACK=1 shows the traceback instead.
    """
    try:
        try:
            code = group.main(standalone_mode=False)
        except SystemExit as ended:
            code = ended.code
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.Abort:
        raise SystemExit(int(Exit.INTERRUPTED)) from None
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else str(error))
        raise SystemExit(int(Exit.USAGE)) from None
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see {context.command_path} --help" if context else ""
        fail(f"{error.format_message().rstrip('.')}{hint}")
    except ChurnlabError as error:
        fail(str(error), error.code)
    except KeyboardInterrupt:
        raise SystemExit(int(Exit.INTERRUPTED)) from None
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(int(Exit.UNEXPECTED)) from None
    except Exception as error:
        if isinstance(error, OSError) and is_full(error):
            # What is left in a buffer must not fail once more at the very end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            full = unwritten(error, "standard output")
            fail(str(full), full.code)
        if isinstance(error, OSError) and error.filename is not None:
            # A name that is too long, a folder that is not ours to look into: found wherever a
            # file is looked for, and always the fault of the name.
            fail(f"cannot use {os.fsdecode(error.filename)}: {error.strerror}; name another file")
        if os.environ.get("CHURNLAB_TRACEBACK"):
            raise
        fail(
            f"unexpected {type(error).__name__}: {error} "
            "(CHURNLAB_TRACEBACK=1 shows where; please report it)",
            Exit.UNEXPECTED,
        )
    raise SystemExit(code if isinstance(code, int) else 0)
