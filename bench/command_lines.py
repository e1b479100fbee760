"""Fuzzed command lines of every verb: do all of them end as promised?

    python -m bench.command_lines --count 50000

Each line goes as far as to the deed: no load, no process, nothing written outside one directory
(`tests.fuzz.confined`). The same number of the same seed is the same line, so that a line that fell can be tried
alone: `--first NUMBER --count 1`. Ends with 1 when a line did not end as promised: with a traceback or
an unexpected error, after more than 5 s, with an exit code that is not documented, with an error that is not
one line or has control characters in it, or with more than 200 MB in memory.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from bench import command
from tests.fuzz.attempt import LONGEST, MOST
from tests.fuzz.running import run

PIECE = 2000
"""Lines of one process."""
KINDS = ("traceback", "unexpected", "hang", "memory", "code", "lines", "control")


def main() -> None:
    parser = command.options(__doc__, "command_lines")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    print(command.machine(), flush=True)
    begin = time.monotonic()
    found: Counter[str] = Counter()
    most, lines = 0.0, 0
    end = chosen.first + chosen.count
    for first in range(chosen.first, end, PIECE):
        piece = run(seed=chosen.seed, first=first, count=min(PIECE, end - first))
        lines += piece.lines
        most = max(most, piece.megabytes)
        for fault in piece.faults:
            found[fault.kind] += 1
            words = [word[:120] for word in fault.words]
            print(
                f"{fault.kind}, line {fault.number}: {words}\n    {fault.said[:300]!r}", flush=True
            )
    told = ", ".join(f"{found[kind]} {kind}" for kind in KINDS)
    print(
        f"{lines:,} lines of seed {chosen.seed} in {time.monotonic() - begin:.0f} s: {told}; most memory "
        f"{most:.0f} MB (a hang is more than {LONGEST:g} s, memory more than {MOST} MB)"
    )
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
