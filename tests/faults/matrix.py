"""Provokes faults, and draws the confusion matrix: fault injected × cause named.

python -m tests.faults.matrix             print it
python -m tests.faults.matrix --write     and write docs/diagnosis.md
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from lab.testbed.base import TestbedError
from loadgen import summary as records
from loadgen.summary import Summary
from tests.faults.catalogue import BY_NAME, CASES
from tests.faults.fault import Case

PAGE = Path(__file__).parents[2] / "docs" / "diagnosis.md"
JOBS = 5
"""Faults provoked at a time: most of a fault's time is waiting."""
TRIES = 3
"""How often a fault is provoked that did not happen at all, before that counts as wrong."""
LEAST = 0.999
"""Of the failed connections, that the right causes must explain."""


class Result(msgspec.Struct, frozen=True):
    """The result of one fault."""

    fault: str
    summary: Summary | None
    error: str = ""

    @property
    def lost(self) -> int:
        """Attempts that failed and arrivals that were dropped."""
        return 0 if self.summary is None else self.summary.lost

    @property
    def happened(self) -> bool:
        """Whether the fault did what it was to do: a run in which nothing was lost proves nothing.

        A full conntrack table, for one, is now and then cleared of closed connections by the
        kernel's collector just when ours come.
        """
        return self.summary is None or not BY_NAME[self.fault].fault.fails or bool(self.lost)

    @property
    def named(self) -> dict[str, int]:
        """Causes and the connections each explains, the greatest first."""
        found = [] if self.summary is None else self.summary.causes
        return {cause.cause: cause.connections for cause in found}

    @property
    def explained(self) -> float:
        """The share of what was lost that the right causes explain; 1 where nothing was."""
        right = sum(self.named.get(cause, 0) for cause in BY_NAME[self.fault].fault.causes)
        return right / self.lost if self.lost else 1.0


def judge(result: Result) -> list[str]:
    """Return what is wrong with a fault's diagnosis; nothing when it is right."""
    fault, summary = BY_NAME[result.fault].fault, result.summary
    if summary is None:
        return [f"no run: {result.error}"]
    named, wrong = list(result.named), []
    if fault.fails != bool(result.lost):
        wrong.append(f"{result.lost} connections were lost; did the fault happen at all?")
    if set(named[: len(fault.causes)]) != set(fault.causes):
        wrong.append(f"named {named or 'nothing'}, not {list(fault.causes) or 'nothing'} first")
    if result.explained < LEAST:
        wrong.append(f"the right cause explains only {result.explained:.2%}")
    wrong += [f"also named {cause}" for cause in named if cause not in (*fault.causes, *fault.also)]
    wrong += [f"{cause.cause} has no evidence" for cause in summary.causes if not cause.evidence]
    return wrong


def provoke(case: Case) -> Result:
    """Provoke one fault in namespaces of its own and return the result."""
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            case.fault.stage(Path(directory)) as stage,
        ):
            case.fault.run(stage, case.when)
            return Result(case.name, stage.finish())
    except (RuntimeError, OSError, TestbedError) as error:
        return Result(case.name, None, str(error))


def _provoke(name: str) -> bytes:
    """Do so in another process, and bring the result home as JSON."""
    return msgspec.json.encode(provoke(BY_NAME[name]))


def provoke_all(cases: Sequence[Case], jobs: int = JOBS) -> list[Result]:
    """Provoke faults, several at a time where they allow it, and return the results."""
    context = multiprocessing.get_context("spawn")
    found: dict[str, Result] = {}
    for alone in (False, True):
        names = [case.name for case in cases if case.fault.alone is alone]
        for _ in range(TRIES):
            with ProcessPoolExecutor(1 if alone else jobs, mp_context=context) as pool:
                for data in pool.map(_provoke, names):
                    result = msgspec.json.decode(data, type=Result)
                    found[result.fault] = result
            names = [name for name in names if not found[name].happened]
    return [found[case.name] for case in cases]


# --- drawing it ---------------------------------------------------------------------------------


def draw(results: Sequence[Result]) -> str:
    """Return the matrix as text: in each row, which share of the lost connections got which cause.

    A limit that was reached without failing anyone is a `+`.
    """
    columns = list(dict.fromkeys(c for r in results for c in BY_NAME[r.fault].fault.causes))
    columns += sorted({cause for r in results for cause in r.named} - set(columns))
    width = max(len(r.fault) for r in results)
    lines = [" " * (width + 2) + "".join(f"{number:>5}" for number in range(1, len(columns) + 1))]
    for result in results:
        cells = [_cell(result, cause) for cause in columns]
        wrong = judge(result)
        mark = "" if not wrong else "   WRONG: " + "; ".join(wrong)
        lines.append(f"{result.fault:<{width}}  " + "".join(f"{c:>5}" for c in cells) + mark)
    legend = [f"{number:>3} {cause}" for number, cause in enumerate(columns, 1)]
    right = sum(not judge(result) for result in results)
    return "\n".join(
        [
            "share of the lost connections, in percent, by the cause named for them",
            *lines,
            "",
            *legend,
            "",
            f"{right} of {len(results)} right",
        ]
    )


def _cell(result: Result, cause: str) -> str:
    count = result.named.get(cause)
    if count is None:
        return "·"
    if count == 0:
        return "+"
    share = 100 * count / result.lost
    return f"{share:.0f}" if share in (0, 100) or 0.5 <= share <= 99.5 else f"{share:.1f}"


def page(results: Sequence[Result]) -> str:
    """Return the whole of `docs/diagnosis.md`."""
    rows = []
    for result in results:
        case = BY_NAME[result.fault]
        named = ", ".join(
            f"`{cause}` {count:,}" if count else f"`{cause}`"
            for cause, count in result.named.items()
        )
        verdict = "right" if not judge(result) else "**wrong**"
        rows.append(
            f"| {case.name} | {case.fault.injected} | {result.lost:,} | {named or 'none'} | "
            f"{result.explained:.1%} | {verdict} |"
        )
    examples = [
        _example(result)
        for result in results
        if result.fault in {"conntrack full on the client", "port search slow"}
        and result.summary is not None
    ]
    return _PAGE.format(
        kernel=platform.release(),
        right=sum(not judge(result) for result in results),
        all=len(results),
        matrix=draw(results),
        rows="\n".join(rows),
        examples="\n".join(examples),
    )


def _example(result: Result) -> str:
    assert result.summary is not None
    cause = result.summary.causes[0]
    evidence = "\n".join(f"- {item.text}" for item in cause.evidence)
    return (
        f"**{cause.title}** (`{cause.cause}`, {cause.fault}, {cause.connections:,} connections)\n\n"
        f"{evidence}\n\nRemedy: {cause.remedy}.\n"
    )


_PAGE = """\
# Diagnosis, checked against faults

Generated by `python -m tests.faults.matrix --write` from a real run; the same faults are part of the
test suite (`tests/faults/`). Each fault is provoked for real, in fresh network namespaces, in two ways:
while `loadgen run` opens connections, and before its first arrival, as on a host with a history. Then
the causes that its summary names are compared with what was done. Kernel: Linux {kernel}. Right: {right} of {all}.

A diagnosis is right when the injected fault's cause is named first, explains at least 99.9 % of the
lost connections (failed attempts and dropped arrivals), and nothing else is named.
[causes.md](causes.md) lists all causes, with what helps.

## Confusion matrix

```
{matrix}
```

`+` marks a limit that was reached without failing anyone: a cause of 0 connections. It is named all
the same, because the success that follows from it is not what it seems, or because it costs time and
CPU already.

## Fault by fault

| fault | what was done | lost | named | explained | |
|---|---|---|---|---|---|
{rows}

## What a cause looks like

{examples}
## How it works

An errno does not say why: ETIMEDOUT is the answer to a full conntrack table on either host or
between, to a full queue of the listener, to a firewall and to a dead host alike. But whoever drops a
packet on Linux counts it, in the namespace that drops it, and `loadgen` reads these counters on the
run's own clock in every namespace named with `--netns`.

- **Ledger.** Every failed attempt and every dropped arrival stands on a ledger; each rule
  (`loadgen/diagnosis/`) takes off it what it can prove. The order of the rules is their precedence.
  What is left is reported as `unexplained`, with what was ruled out. Nothing is explained twice, and
  the causes of a summary always add up to what was lost.
- **Unanswered SYNs.** A SYN that was sent again, and the last SYN of an attempt that timed out, is
  one packet that went unanswered. The drops that each place has counted are compared with that
  number. When they add up, each explains its share; when they fall short, the rest was lost between
  the two hosts.
- **Firewalls** have no counter that can be read without knowing the rule. But the kernel keeps
  books: a packet that came in (InReceives) or was made (OutRequests), and was neither delivered
  (InDelivers) nor handed to a device (OutTransmits), was dropped or rejected in between. A host that
  drops its own packets on the way out also sees its retransmissions fail (TCPRetransFail), and a RST
  that the client got and the server's kernel did not send (OutRsts) was a firewall's.
- **A dropped arrival** is the port search's only if connect() burned CPU and ports were scarce;
  otherwise it is the generator's own and the run is `generator_limited` (`loadgen/diagnosis/honesty.py`).
  Whether they were scarce is read before the first arrival too: a run on a host that was loaded in the
  last minute has no undisturbed beginning to be compared with.
- **Boxes on the way** (`--netns router=`, `nat=`, `proxy=`, `host=`) are seen as what they are. A NAT
  holds a port for each connection that it remembers, and its table and its rule tell how many of how
  many; a proxy is a client of its backends, with local ports of its own; a routing table is asked for
  both ends, because what a blackhole route takes is counted nowhere.
- **Only the client watched.** Without `--netns` nobody else's counters are there. What left this host
  and was never answered is `lost_beyond_client`: its own host is ruled out, and the remedy names what
  would tell the rest.
"""


def _cases(names: Iterable[str]) -> list[Case]:
    wanted = list(names)
    known = {*BY_NAME, *(case.fault.name for case in CASES)}
    for name in wanted:
        if name not in known:
            raise SystemExit(f"error: no fault {name!r}; there are: {', '.join(BY_NAME)}")
    return [case for case in CASES if not wanted or {case.name, case.fault.name} & set(wanted)]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", nargs="*", help="provoke only these")
    parser.add_argument("--write", action="store_true", help="write docs/diagnosis.md")
    parser.add_argument("--out", type=Path, help="keep the summaries in this directory")
    options = parser.parse_args()
    results = provoke_all(_cases(options.fault))
    sys.stdout.write(draw(results) + "\n")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for result in results:
            if result.summary is not None:
                path = options.out / f"{result.fault.replace(' ', '-')}.json"
                path.write_bytes(records.encode(result.summary))
    if options.write:
        if options.fault:
            raise SystemExit("error: --write takes all faults")
        PAGE.write_text(page(results))
    sys.exit(any(judge(result) for result in results))


if __name__ == "__main__":
    main()
