"""`python -m lab`: the same as the `lab` command."""

from __future__ import annotations

from lab.cli import main

main()
