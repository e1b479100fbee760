"""Makes directories that nobody's run wrote, and sees what the commands that read them do.

A stock of whole directories, one of each kind, is made once. A seed decides which of them is copied,
what is done to the copy, and which command reads it: the same seed gives the same case on any
machine, so that one that fell in ten thousand can be looked at alone. `python -m bench.mangled` does
many; the suite does a few hundred.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.ablate.records import LINES, TuningLine, TuningLines
from lab.analysis.store import EXPERIMENT
from lab.claims.records import Claims, Result
from lab.cli import ablate_run, claims_kernels, compare, plan, plan_run, rebuild, report
from lab.cli import main as lab
from lab.report import across, html, writing
from lab.report.sheet import LISTED
from lab.sweep.records import Capacity, Probe, Sweep, SweepConfig, ValidatedFigure, Validation
from lab.sweep.run import SWEEP
from lab.sweep.search import TrialEnd
from lab.sweep.validate import VALIDATION
from loadgen.cli import execute, merge
from loadgen.cli import main as loadgen
from loadgen.cli import report as of_a_run
from loadgen.errors import Exit
from loadgen.fleet.record import FILE, Fleet, Seat
from loadgen.fleet.store import write_digest
from loadgen.report.page import PAGE, frame
from loadgen.run import rundir
from loadgen.summary import Environment, encode
from loadgen.watch.recording import MOMENTS, SEGMENTS, Head, Moment, Tick, Use
from loadgen.watch.recording import encode as line_of
from loadgen.watch.who import Destination, Who
from tests.lab.synthetic import write_experiment
from tests.loadgen.synthetic import Plan, write_run

VERBS: Final = (
    ablate_run, claims_kernels, compare, plan, plan_run, rebuild, report, across, html, writing, execute,
    merge, of_a_run,
)  # fmt: skip
"""Imported here, for the commands import them only when they are called, which is in each fork."""
SECONDS: Final = 5.0
"""Beyond which a command hangs."""
MEMORY: Final = 200 << 20
"""Bytes that a command may need more than the process that it was forked from."""
_BRAKE: Final = 2 << 30
"""Bytes beyond which a command gets no more memory, for the machine's sake."""
_SHOWN: Final = {".html", ".md", ".xml", ".csv", ".svg"}
_LARGE: Final = 10 << 20
"""Bytes of a file from which on nothing more is done to it."""
_ENDS: Final = {int(code) for code in Exit} - {int(Exit.UNEXPECTED)}
_SMALL: Final = Plan(rate=2000, duration=1.0, collapse=False)

SEQUENCES: Final = (
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[31m",
    "\x9b31m\x9d0;owned\x9c",
    "\x00\x01\x07\x08\x7f",
    "one\rtwo\nthree\x0b\x0cfour\x85five\u2028six",
    "\u202egnp.exe\u2066\u200b\ufeff\U000e0041",
    "=HYPERLINK('http://example.invalid')",
    "</script><img src=x onerror=alert(1)><!--]]>",
    "javascript:alert(1)",
    "[link](http://example.invalid) | `code` | ![x](y)",
    "\uffff\ufffe",
)
"""What must come out harmless of every writer."""
_NUMBERS: Final = (
    0, -1, 1, 1e-300, 1e300, -1e300, 1e308, 5e-324, 2**31, 2**63, 2**64, -(2**63), 10**40, 10**5000,
    0.0, -0.0, 86400 * 1e6,
)  # fmt: skip
_RAW: Final = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"nul", b"", b"\xff\xfe", b'"\\ud800"')
"""What stands for a value in place of JSON."""
_TEXTS: Final = (
    *SEQUENCES, "", "a" * 70_000, "constant", "ramp:1-2", "steps:", "p(99)", "ok: count > 0",
    "failed: rate == 0", "generator_outcome_bogus", "client-9", "before", "../../../etc/passwd", "/dev/zero", "trials/../..", "bogus", "NaN", "1e309",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One directory that was mangled, and what became of the command that read it."""

    seed: int
    kind: str
    done: tuple[str, ...]
    """What was done to it."""
    command: tuple[str, ...]
    code: int
    seconds: float
    memory: int
    """Bytes that the command needed more than its parent."""
    said: str
    problems: tuple[str, ...]
    """What a promise was broken by; empty where all hold."""


# --- the stock ----------------------------------------------------------------------------------


def _sweep(path: Path) -> None:
    path.mkdir()
    probe = Probe(
        rate=1000.0,
        ended=TrialEnd.CLEAN,
        scheduled=10,
        ok=10,
        failed=0,
        dropped=0,
        why="",
        directory="1",
    )
    capacity = Capacity(
        tuning="article", settings={"net.ipv4.tcp_tw_reuse": "1"}, predicted=900.0,
        bound_by="ports_exhausted", for_good=400.0, low=800.0, high=1000.0, at_least=False, clean=2, lost=2,
        tried_high=2, p=0.1, cause="no local port was free", probes=[probe, probe], skipped=["x"],
    )  # fmt: skip
    config = SweepConfig(
        duration=5.0, confirm=2, precision=0.1, close="client", servers=1, source_addresses=1, rtt=0.0,
        local_port_range=None, loadgen=[],
    )  # fmt: skip
    sweep = Sweep(
        name="sweep", started_at="2026-11-20T10:00:00+00:00", finished=True,
        config=config,
        environment=Environment(kernel="6.18", cpus=2),
        closed_loop_rate=9000.0, capacities=[capacity, capacity],
    )  # fmt: skip
    (path / SWEEP).write_bytes(encode(sweep))


def _validation(path: Path) -> None:
    path.mkdir()
    check = ValidatedFigure(
        name="ports", situation="28,232 ports", quantity="first loss", unit="s", predicted=1.5,
        measured=1.4, tolerance=0.1,
    )  # fmt: skip
    found = Validation(
        started_at="2026-11-20T10:00:00+00:00",
        environment=Environment(kernel="6.18", cpus=2, memory_kib=8_000_000),
        checks=[check, check],
    )
    (path / VALIDATION).write_bytes(encode(found))


def _ablation(path: Path) -> None:
    write_experiment(path, trials=1, before=_SMALL, after=_SMALL)
    experiment = json.loads((path / EXPERIMENT).read_bytes())
    for arm, trial, name in zip(
        experiment["arms"], experiment["trials"], ("none", "all"), strict=True
    ):
        arm["name"] = trial["arm"] = name
    (path / EXPERIMENT).write_text(json.dumps(experiment))
    line = TuningLine(
        key="net.ipv4.tcp_tw_reuse", value="1", number=1, state="active", reason="2", without="none",
        alone="all",
    )  # fmt: skip
    lines = TuningLines(
        tuning="article", source="built-in", lines=[line], tracked=False, notes=[],
        arms={"none": [], "all": ["net.ipv4.tcp_tw_reuse"]},
    )  # fmt: skip
    (path / LINES).write_bytes(encode(lines))


def _claims(path: Path) -> None:
    path.mkdir()
    result = Result(
        name="ports_default", row=1, says="says", quote="quote", verdict="confirmed", reading="reading",
        paper="confirmed", measured={"ports": 28232}, evidence=["seen"], sources=["tcp(7)"],
    )  # fmt: skip
    claims = Claims(
        kernel="6.18", environment=Environment(kernel="6.18", cpus=2, memory_kib=8_000_000),
        started_at="2026-11-20T10:00:00+00:00", seconds=60.0, finished=True, claims=[result],
    )  # fmt: skip
    (path / "claims.json").write_bytes(encode(claims))


def _recording(path: Path) -> None:
    line = Destination(
        source="10.0.0.1", destination="10.0.0.2", port=11211, held=1000, live=2, time_wait=998,
        share=0.04, rate=100.0, lifetime=0.001, reused=False, connect=1e-5, slow_in=60.0,
        exhausted_in=None,
    )  # fmt: skip
    lists = {name for name, kind in Who.__annotations__.items() if kind.startswith("list")}
    empty: dict[str, Any] = {name: [] if name in lists else 0 for name in Who.__struct_fields__}
    who = Who(**(empty | {"destinations": [line]}))
    head = Head(
        time=1e9, host="web1", namespace="host", kernel="6.18", interval=1.0,
        sysctls={"net.ipv4.ip_local_port_range": "32768 60999"}, absent={"listen_queue": "why"},
    )  # fmt: skip
    lines = [line_of(head)]
    for t in range(30):
        values: dict[str, Any] = {
            "netstat_Tcp_ActiveOpens": 100 * t,
            "sockstat_TCP_tw": t,
            "ephemeral_ports_in_use": 30 * t,
            "ephemeral_ports_limit": 28_232,
        }
        lines += [line_of(Tick(t=float(t), values=values)), line_of(Use(t=float(t), who=who))]
    (path / SEGMENTS).mkdir(parents=True)
    (path / SEGMENTS / "00000001.jsonl.gz").write_bytes(gzip.compress(b"".join(lines)))
    (path / SEGMENTS / "00000002.jsonl").write_bytes(b"".join(lines))
    moment = Moment(time=1e9 + 5, name="listen_queue", began=True, text="full", who=who)
    (path / MOMENTS).write_bytes(line_of(moment))


def _fleet(path: Path) -> None:
    seats = [Seat(index=index, seat=str(index), node=f"n{index}", home=True) for index in range(2)]
    for seat in seats:
        folder = path / seat.directory
        write_run(folder, _SMALL, seed=seat.index)
        about = json.loads((folder / rundir.RUN).read_bytes())
        about["config"]["shard"] = [seat.index, 2]
        (folder / rundir.RUN).write_text(json.dumps(about))
    write_digest(path / seats[0].directory)
    record = Fleet(
        kind="wait", run="run", arguments=["127.0.0.1:11211"], thresholds=["failed: rate == 0"],
        seats=seats, host="127.0.0.1", port=4000, seconds=10.0, duration=1.0, start=1e9, ended=True,
    )  # fmt: skip
    (path / FILE).write_bytes(msgspec.json.encode(record))


_MAKERS: Final[dict[str, Callable[[Path], object]]] = {
    "run": lambda path: write_run(path, _SMALL, seed=1),
    "collapsed": lambda path: write_run(path, Plan(duration=2.0, threshold=True), seed=2),
    "experiment": lambda path: write_experiment(
        path, trials=1, before=Plan(duration=2.0, fault="kill"), after=_SMALL
    ),
    "ablation": _ablation,
    "sweep": _sweep,
    "validation": _validation,
    "claims": _claims,
    "recording": _recording,
    "fleet": _fleet,
}


def stock(folder: Path) -> Path:
    """Make one whole directory of each kind under `folder`, which is made; return it."""
    folder.mkdir(parents=True)
    for kind, make in _MAKERS.items():
        make(folder / kind)
    # Pages' templates are compiled here, not in each fork.
    for found in (frame.environment(), html.environment()):
        for name in found.list_templates(extensions=["j2"]):
            found.get_template(name)
    return folder


# --- what is done to them -----------------------------------------------------------------------


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(inside, (*path, key))


def _nasty(dice: random.Random) -> Any:
    return dice.choice(
        (
            lambda: dice.choice(_NUMBERS),
            lambda: dice.choice(_TEXTS),
            lambda: dice.choice(
                (None, True, False, [], {}, [[]], {"": {}}, [None], {"a": [1e300]})
            ),
        )
    )()


def _change(value: Any, dice: random.Random) -> tuple[bytes, str]:
    """Return a document with one thing changed in it, and what that was."""
    places = list(_paths(value))
    if not places:
        return dice.choice(_RAW), "nothing of it left"
    *way, last = place = dice.choice(places)
    holder = value
    for key in way:
        holder = holder[key]
    where = ".".join(str(key)[:40] for key in place)
    what = dice.randrange(10)
    if what == 0:
        del holder[last]
        return _json(value), f"{where} is missing"
    if what == 1:
        raw = dice.choice(_RAW)
        holder[last] = "MARK"
        return _json(value).replace(b'"MARK"', raw, 1), f"{where} is {raw!r}"
    if what == 2 and isinstance(holder, dict):
        name = str(dice.choice(_TEXTS))
        holder[name] = holder.pop(last)
        return _json(value), f"{where} is named {name[:40]!r}"
    if what == 3 and isinstance(holder[last], list | dict) and len(holder[last]):
        inside = holder[last]
        if isinstance(inside, list):
            holder[last] = inside * dice.choice((2, 1000))
        else:
            holder[last] = inside | {f"more {n}": next(iter(inside.values())) for n in range(5000)}
        return _json(value), f"{where} has more"
    if what in {4, 5} and isinstance(holder[last], str):
        holder[last] += dice.choice(SEQUENCES)
        return _json(value), f"{where} is {holder[last][-60:]!r}"
    holder[last] = _nasty(dice)
    return _json(value), f"{where} is {str(holder[last])[:60]!r}"


def _json(value: Any) -> bytes:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(value).encode("utf-8", "surrogatepass")
    finally:
        sys.set_int_max_str_digits(limit)


def _edit(path: Path, dice: random.Random) -> str:
    """Change a value in a document, or in a line of one."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".json":
        data, what = _change(json.loads(data), dice)
    else:
        lines = data.split(b"\n")
        number = dice.choice((0, len(lines) - 2, dice.randrange(max(1, len(lines) - 1))))
        try:
            lines[number], what = _change(json.loads(lines[number]), dice)
        except ValueError:
            fields = lines[number].split(b",")
            fields[dice.randrange(len(fields))] = str(_nasty(dice)).encode("utf-8", "replace")
            lines[number], what = b",".join(fields), "a field of a line"
        data = b"\n".join(lines)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return f"{path.name}: {what}"


def _cut(path: Path, dice: random.Random) -> str:
    size = path.stat().st_size
    place = dice.randrange(size + 1)
    os.truncate(path, place)
    return f"{path.name} is cut at {place} of {size}"


def _bytes(path: Path, dice: random.Random) -> str:
    data = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 1, 3, 50))):
        at = dice.randrange(len(data) + 1)
        data[at : at + dice.choice((0, 1, 2))] = dice.randbytes(dice.choice((0, 1, 3)))
    path.write_bytes(data)
    return f"{path.name} has other bytes"


def _whole(path: Path, dice: random.Random) -> str:
    """Put something else into a file as a whole."""
    what, data = dice.choice(
        (
            ("is empty", b""),
            ("is nested", b"[" * 100_000),
            ("is nested in names", b'{"a":' * 50_000),
            ("is no UTF-8", b"\xff" * 1000),
            ("is a line without end", b"x" * 5_000_000),
            ("is many lines", b'{"t":1,"role":"client","values":{}}\n' * 20_000),
            ("is NULs", b"\0" * 10_000),
            ("is null", b"null"),
            ("is a list", b"[1,2]"),
            ("is compressed", gzip.compress(b"\0" * 50_000_000)),
        )
    )
    path.write_bytes(data)
    return f"{path.name} {what}"


def _other(path: Path, dice: random.Random, victim: Path) -> str:
    """Put something that is no file in a file's place."""
    path.unlink()
    what = dice.choice(
        ("fifo", "loop", "zero", "directory", "socket", "sparse", "victim", "dangling")
    )
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as made, suppress(OSError):
            made.bind(str(path))
    elif what == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        places = {"loop": path, "zero": Path("/dev/zero"), "victim": victim}
        path.symlink_to(places.get(what, Path("nowhere")))
    return f"{path.name} is a {what}"


def _outward(folder: Path, dice: random.Random, victim: Path) -> str:
    """Lay a link where a report will be written."""
    places = [path for path in folder.rglob("*") if path.is_dir()]
    if places and dice.random() < 0.4:
        place = dice.choice(places)
        shutil.rmtree(place)
        place.symlink_to(victim.parent)
        return f"{place.relative_to(folder)} leads outside"
    names = (
        PAGE,
        rundir.SUMMARY,
        "summary.md",
        "junit.xml",
        "comparison.json",
        LISTED,
        "ablation.json",
    )
    name = dice.choice((*names, "latency-before.hlog"))
    path = dice.choice([folder, *places]) / name
    path.unlink(missing_ok=True)
    path.symlink_to(victim)
    return f"{path.relative_to(folder)} leads outside"


def _mangleable(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size < _LARGE


def mangle(folder: Path, dice: random.Random, victim: Path) -> list[str]:
    """Do one to three things to a directory; return them in words."""
    done = []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        files = sorted(path for path in folder.rglob("*") if _mangleable(path))
        if not files:
            break
        path = dice.choice(files)
        what = dice.random()
        with suppress(ValueError, IndexError, EOFError, OSError, RecursionError, zlib.error):
            if what < 0.60:
                done.append(_edit(path, dice))
            elif what < 0.68:
                done.append(_cut(path, dice))
            elif what < 0.76:
                done.append(_bytes(path, dice))
            elif what < 0.82:
                done.append(_whole(path, dice))
            elif what < 0.92:
                done.append(_other(path, dice, victim))
            else:
                done.append(_outward(folder, dice, victim))
    return done


# --- who reads them -----------------------------------------------------------------------------


def commands(kind: str, path: str, beside: str, out: str) -> list[tuple[str, ...]]:
    """Return the commands that read a directory of a kind."""
    if kind == "claims":
        return [("lab", "claims", "--with", f"{path}/claims.json", "--out", f"{out}/claims")]
    if kind == "recording":
        return [("loadgen", "report", path), ("lab", "plan", "--from", path)]
    if kind == "fleet":
        return [("loadgen", "report", path), ("loadgen", "merge", f"{path}/shards/001-n0")]
    if kind in {"run", "collapsed"}:
        files = (f"--json={out}/s.json", f"--csv={out}/s.csv", f"--junit={out}/j.xml")
        return [
            ("loadgen", "report", path, *files),
            ("loadgen", "merge", path, f"--json={out}/s.json"),
            ("lab", "report", path),
            ("lab", "compare", path, beside, f"--out={out}/compared"),
        ]
    return [
        ("lab", "report", path),
        ("lab", "report", path),
        ("lab", "report", path, f"--out={out}/report"),
        ("lab", "report", path, f"--csv={out}/s.csv"),
        ("lab", "compare", beside, path),
    ]


def _become(command: tuple[str, ...], told: Path) -> None:
    """Be a command, in a process that was forked for it; never returns."""
    code = 70
    try:
        descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
        resource.setrlimit(resource.RLIMIT_DATA, (_BRAKE, _BRAKE))
        sys.argv = list(command)
        (lab if command[0] == "lab" else loadgen)()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent shall hear of it
        os.write(2, f"Traceback: {type(error).__name__}: {error}\n".encode())
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@cache
def _idle() -> int:
    """Return the bytes of a fork that does nothing."""
    child = os.fork()
    if not child:
        os._exit(0)
    return os.wait4(child, 0)[2].ru_maxrss * 1024


def _run(command: tuple[str, ...], told: Path, patience: float) -> tuple[int, float, int]:
    """Run a command in a fork; return its code, its seconds and its bytes."""
    begun = time.monotonic()
    child = os.fork()
    if not child:
        _become(command, told)
    descriptor = os.pidfd_open(child)
    try:
        if not select.select([descriptor], [], [], patience)[0]:
            os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    finally:
        os.close(descriptor)
    code = os.waitstatus_to_exitcode(status)
    return code, time.monotonic() - begun, max(0, used.ru_maxrss * 1024 - _idle())


CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""What a terminal, or a reader's eye, obeys."""


def _problems(code: int, memory: int, said: str, written: list[Path]) -> Iterator[str]:
    if code == -signal.SIGKILL:
        yield "hangs"
    elif code not in _ENDS:
        yield f"ends with {code}"
    if "Traceback" in said:
        yield "traceback"
    if "error: unexpected" in said:
        yield "unexpected"
    if memory > MEMORY:
        yield "memory"
    if found := CONTROL.search(said):
        yield f"{found[0]!r} on the terminal"
    for path in written:
        text = path.read_bytes().decode("utf-8", "replace")
        if path.suffix in _SHOWN and (found := CONTROL.search(text)):
            yield f"{found[0]!r} in {path.name}"
        if path.suffix == ".html" and not text.rstrip().endswith("</html>"):
            yield f"{path.name} is cut"


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the regular files under a folder with what tells that they were written."""
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        if path.is_file() and not path.is_symlink():
            found[path] = state.st_mtime_ns, state.st_ino
    return found


def try_one(seed: int, whole: Path, scratch: Path, patience: float = SECONDS) -> Case:
    """Mangle one directory and have it read.

    Args:
        seed: decides everything.
        whole: what `stock` made.
        scratch: a folder for this case alone; removed afterwards.
        patience: seconds beyond which the command hangs.
    """
    dice = random.Random(seed)
    kind = dice.choice(list(_MAKERS))
    outside, folder, out = scratch / "outside", scratch / "in" / kind, scratch / "out"
    outside.mkdir(parents=True)
    out.mkdir()
    victim = outside / "victim"
    victim.write_bytes(b"do not touch")
    (outside / PAGE).write_bytes(b"nor this")
    shutil.copytree(whole / kind, folder)
    try:
        done = mangle(folder, dice, victim)
        beside = str(whole / ("experiment" if kind == "experiment" else "run"))
        command = dice.choice(commands(kind, str(folder), beside, str(out)))
        before, around = _files(folder), _files(outside)
        code, seconds, memory = _run(command, scratch / "told", patience)
        said = (scratch / "told").read_bytes().decode("utf-8", "replace")
        after = _files(folder) | _files(out)
        written = [path for path, state in after.items() if before.get(path) != state]
        problems = list(_problems(code, memory, said, written))
        if _files(outside) != around:
            problems.append("wrote outside")
    finally:
        shutil.rmtree(scratch)
    return Case(seed, kind, tuple(done), command, code, seconds, memory, said, tuple(problems))
