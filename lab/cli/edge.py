"""The edge of every command that can be used wrongly or interrupted: lines on stderr, an exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.sysctl.tuning import TuningError
from loadgen.cli.group import fail, say
from loadgen.errors import ChurnlabError, Exit


@contextmanager
def edge(interrupted: Callable[[], str] = lambda: "interrupted") -> Iterator[None]:
    """End the command with one line for each thing that a user can mend.

    What is nobody's mistake goes on to the outermost handler, which calls it unexpected.

    Args:
        interrupted: what to say after a Ctrl-C.

    Raises:
        SystemExit: with the documented exit code.
    """
    try:
        yield
    except TuningError as error:
        for line in error.problems:
            say(line)
        raise SystemExit(int(error.code)) from None
    except ChurnlabError as error:
        fail(str(error), error.code)
    except ValueError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail(interrupted(), Exit.INTERRUPTED)
