"""`python -m loadgen`: the same as the `loadgen` command."""

from __future__ import annotations

from loadgen.cli import main

main()
