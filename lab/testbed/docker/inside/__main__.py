"""Starts a role: `python -m lab.testbed.docker.inside ROLE …`; see the package's description."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from loadgen.errors import ChurnlabError

# Imported when called: `wait` starts beside a measurement, and needs none of the others.
_ROLES = ("look", "server", "watch", "load", "wait")


def main(arguments: Sequence[str]) -> int:
    """Run a role and return its exit code.

    Raises:
        ValueError: for an unknown role, or arguments that it does not take.
        OSError: when the container lacks something.
        ChurnlabError: as above; with the remedy.
    """
    name = arguments[0] if arguments else ""
    if name not in _ROLES:
        raise ValueError(f"no such role: {name or 'none given'}")
    module = import_module(f"lab.testbed.docker.inside.{name}")
    code = module.role(name, arguments[1:])
    return int(code)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, OSError, ChurnlabError) as error:
        sys.exit(f"error: {error}")
