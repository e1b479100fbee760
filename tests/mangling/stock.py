"""A whole directory of each kind that a command reads, to be mangled."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.ablate.records import LINES, TuningLine, TuningLines
from lab.analysis.store import EXPERIMENT
from lab.claims.records import Claims, Result
from lab.report import html
from lab.sweep.records import Capacity, Probe, Sweep, SweepConfig, ValidatedFigure, Validation
from lab.sweep.run import SWEEP
from lab.sweep.search import TrialEnd
from lab.sweep.validate import VALIDATION
from loadgen.fleet.record import FILE, Fleet, Seat
from loadgen.fleet.store import write_digest
from loadgen.report.page import frame
from loadgen.run import rundir
from loadgen.summary import Environment, encode
from loadgen.watch.recording import MOMENTS, SEGMENTS, Head, Moment, Tick, Use
from loadgen.watch.recording import encode as line_of
from loadgen.watch.who import Destination, Who
from tests.lab.synthetic import write_experiment
from tests.loadgen.synthetic import Plan, write_run

_SMALL: Final = Plan(rate=2000, duration=1.0, collapse=False)


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


KINDS: Final[dict[str, Callable[[Path], object]]] = {
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
    for kind, make in KINDS.items():
        make(folder / kind)
    # Pages' templates are compiled here, not in each fork.
    for found in (frame.environment(), html.environment()):
        for name in found.list_templates(extensions=["j2"]):
            found.get_template(name)
    return folder
