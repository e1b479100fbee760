"""Mangled run directories by the thousand: what the commands that read them do.

Each is a whole directory of some kind (a run, an experiment, an ablation, a sweep, a recording, a
fleet, results of claims) in which one to three things were changed, and is read by one command in a
process of its own. docs/reliability.md says what is promised; the counts are of what broke a promise.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from tests.mangling.cases import MEMORY, SECONDS, Case, try_one
from tests.mangling.stock import stock


def shown(case: Case) -> str:
    """Return a case in a few lines, for whoever mends it."""
    last = case.said.strip().splitlines()[-1:] or ["it said nothing"]
    done = "; ".join(case.done)
    return (
        f"{case.seed}: {', '.join(case.problems)}\n  {' '.join(case.command[:2])} of a {case.kind}: "
        f"{done!a}\n  {case.code}, {case.seconds:.1f} s, {case.memory >> 20} MB: {last[0][:300]!a}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.mangled",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=10_000, help="directories (10,000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first one (0)")
    parser.add_argument("--most", type=int, default=20, help="cases that are shown (20)")
    options = parser.parse_args()
    problems: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    longest, largest, fell = 0.0, 0, 0
    with tempfile.TemporaryDirectory(prefix="mangled-") as folder:
        whole = stock(Path(folder, "stock"))
        for seed in range(options.seed, options.seed + options.count):
            case = try_one(seed, whole, Path(folder, "case"))
            codes[case.code] += 1
            kinds[case.kind] += 1
            longest, largest = max(longest, case.seconds), max(largest, case.memory)
            problems.update({re.sub(r"'.*?'", "a sign", problem) for problem in case.problems})
            if case.problems:
                fell += 1
                if fell <= options.most:
                    print(shown(case), flush=True)
        shutil.rmtree(whole)
    print(f"{options.count:,} directories: " + ", ".join(f"{n:,} {k}" for k, n in kinds.items()))
    print("exit codes: " + ", ".join(f"{code}: {n:,}" for code, n in sorted(codes.items())))
    print(
        f"longest {longest:.1f} of {SECONDS:g} s, most memory {largest >> 20} of {MEMORY >> 20} MB"
    )
    for name in ("traceback", "unexpected", "hangs", "memory", "wrote outside"):
        print(f"  {problems.pop(name, 0):>6,}  {name}")
    for name, number in problems.most_common():
        print(f"  {number:>6,}  {name}")


if __name__ == "__main__":
    main()
