"""Write `docs/causes.md` from the catalogue: `python -m loadgen.diagnosis > docs/causes.md`."""

from __future__ import annotations

import sys

from loadgen.diagnosis.causes import CATALOGUE
from loadgen.diagnosis.kinds import CauseKind, filled

_HEAD = """\
# Causes

Generated from the catalogue, `loadgen/diagnosis/causes.py`, by
`python -m loadgen.diagnosis > docs/causes.md`; a test fails when this page is out of date.

A summary names the causes of what was lost, each with the connections it explains and the readings
that prove it. *Fault* is whose it is: the generator's, the client's host's, the network's, the server's
host's or the server's own. [diagnosis.md](diagnosis.md) shows how each was checked.

| cause | fault | what it is | what helps |
|---|---|---|---|
"""


def _row(kind: CauseKind) -> str:
    cells = (f"`{kind.name}`", kind.fault, filled(kind.title), filled(kind.remedy))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def page() -> str:
    """Return the whole of `docs/causes.md`."""
    return _HEAD + "".join(map(_row, CATALOGUE.values()))


if __name__ == "__main__":
    sys.stdout.write(page())
