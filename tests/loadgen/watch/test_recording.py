"""Recordings: written, rotated, bounded, cut at any byte, boiled down, reported and planned from."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.capacity import CapacityError
from lab.plan.recorded import recorded
from loadgen.report import recording as report
from loadgen.report.page import recording as page
from loadgen.sampling.census import Census, Held
from loadgen.watch.courses import POINTS, Boiler, Course
from loadgen.watch.headroom import Gauge, History, Reading
from loadgen.watch.moments import QUIET, Marks
from loadgen.watch.recorded import is_recording, read
from loadgen.watch.recorder import LEAST, Recorder, RecordingError
from loadgen.watch.recording import Head, Moment, Replay, Tick, Use, changes, decode, encode, pieces
from loadgen.watch.session import WatchLine
from loadgen.watch.who import Memory, Who, who
from tests.loadgen.watch.test_forecast import steady
from tests.loadgen.watch.test_who import ONE, RULES, TWO

SYSCTLS = {
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.tcp_timestamps": "1",
}


class Stage:
    """Stands in for a session: the recorder asks it for settings and gauges only."""

    def __init__(self) -> None:
        self.sysctls = dict(SYSCTLS)
        self.history = History()
        self.absent: dict[str, str] = {}


def using(first: float = 500, second: float = 250) -> Who:
    return who(
        Census({ONE: steady(first, 20, 2), TWO: steady(second, 20, 1)}), Memory(), RULES, None, None
    )


def line(t: float, opened: float, who: Who | None = None, **values: float) -> WatchLine:
    found: dict[str, Any] = {
        "netstat_Tcp_ActiveOpens": int(opened),
        "sockstat_TCP_tw": int(t * 10),
        **values,
    }
    return WatchLine(time="", t=t, values=found, headroom=[], who=who)


def record(
    folder: Path, lines: list[WatchLine], monkeypatch: pytest.MonkeyPatch, most: int = LEAST
) -> list[str]:
    """Write lines as if each was read at its own time; return what was warned of."""
    warned: list[str] = []
    stage: Any = Stage()
    recorder = Recorder(folder, most=most, interval=1.0, namespace="web1", warn=warned.append)
    for item in lines:
        monkeypatch.setattr("loadgen.watch.recorder.time.time", lambda item=item: 1e9 + item.t)
        stage.history.add(Reading(item.t, item.values))
        recorder.add(item, stage)
    recorder.close()
    return warned


def test_it_reads_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 s at 750/s, with a pause of 40 s in the middle: rates, the gap, destinations."""
    lines = [line(t, 750 * t, using() if t % 5 == 0 else None) for t in range(50)]
    lines += [line(t, 750 * t, using()) for t in range(90, 100)]
    assert record(tmp_path, lines, monkeypatch) == []
    assert is_recording(tmp_path)
    found = read(tmp_path)
    assert (found.readings, found.began, found.ended) == (60, 1e9, 1e9 + 99)
    assert found.gaps == [(1e9 + 49, 1e9 + 90)]
    assert found.opened is not None
    assert found.opened[0] == pytest.approx(750)
    rates = found.courses["netstat_Tcp_ActiveOpens"].points()
    assert sorted({round(point[3]) for point in rates}) == [750]
    assert found.courses["sockstat_TCP_tw"].peak == (990.0, 1e9 + 99)
    assert len(found.destinations) == 2


def test_a_tick_tells_only_what_changed() -> None:
    before: dict[str, Any] = {"a": 1, "b": 2, "c": 3}
    now: dict[str, Any] = {"a": 1, "b": 5, "d": 7}
    assert changes(before, now) == {"values": {"b": 5, "d": 7}, "gone": ["c"]}


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3)), max_size=20))
def test_readings_come_back_whole(readings: list[dict[str, int]]) -> None:
    head = Head(time=5.0, host="h", namespace="n", kernel="6.18", interval=1.0, sysctls={})
    replay = Replay()
    before: dict[str, int] = {}
    replay.take(head)
    for t, values in enumerate(readings):
        data = encode(Tick(t=t, **changes(before, values)))
        piece = decode(data)
        assert piece is not None
        assert replay.take(piece) == 5.0 + t
        assert replay.values == values
        before = values


@settings(max_examples=40)
@given(st.data())
def test_cut_at_any_byte_it_still_reads(data: st.DataObject) -> None:
    """Plain or compressed: all lines before the cut are there."""
    head = Head(time=0.0, host="h", namespace="n", kernel="6.18", interval=1.0, sysctls={})
    lines = [encode(head), *(encode(Tick(t=t, values={"sockstat_TCP_tw": t})) for t in range(50))]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    found = list(pieces(whole[:cut].splitlines(keepends=True)))
    ends = [sum(map(len, lines[: n + 1])) for n in range(len(lines))]
    assert len(found) == sum(end <= cut for end in ends)


@pytest.mark.parametrize("packed", [False, True])
def test_a_cut_segment_costs_its_end_only(
    tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line(t, 100 * t) for t in range(200)]
    record(tmp_path, lines, monkeypatch)
    (segment,) = (tmp_path / "segments").iterdir()
    whole = segment.read_bytes() if packed else gzip.decompress(segment.read_bytes())
    target = segment if packed else segment.with_name("00000001.jsonl")
    if not packed:
        segment.unlink()
    before = 0
    for share in (0.2, 0.5, 0.9, 1.0):
        target.write_bytes(whole[: int(len(whole) * share)])
        try:
            readings = read(tmp_path).readings
        except RecordingError:
            assert share < 0.5  # the compressor had not yet let go of a whole line
            continue
        assert readings >= before
        before = readings
    assert before == 200


def test_it_rotates_and_stays_within_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise that hardly compresses, four times as much as there is room for; the oldest goes."""

    def noise(t: int) -> WatchLine:
        return line(
            t, t, None, **{f"x{n}": int.from_bytes(os.urandom(7), "big") for n in range(100)}
        )

    record(tmp_path, [noise(t) for t in range(2000)], monkeypatch)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert LEAST / 4 < size <= LEAST
    found = read(tmp_path)
    assert found.ended == 1e9 + 1999
    assert found.began > 1e9 + 100


def test_a_killed_recorder_s_segment_is_closed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path, [line(t, t) for t in range(5)], monkeypatch)
    (segment,) = (tmp_path / "segments").iterdir()
    segment.with_name("00000001.jsonl").write_bytes(gzip.decompress(segment.read_bytes())[:-7])
    segment.unlink()
    record(tmp_path, [line(t, t) for t in range(10, 15)], monkeypatch)
    names = sorted(path.name for path in (tmp_path / "segments").iterdir())
    assert names == ["00000001.jsonl.gz", "00000002.jsonl.gz"]
    assert read(tmp_path).readings == 4 + 5


def test_a_full_disk_costs_lines_and_not_the_watching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        calls.append(data)
        if 5 <= len(calls) < 10:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr("loadgen.watch.recorder.os.write", write)
    warned = record(tmp_path, [line(t, t) for t in range(20)], monkeypatch)
    assert len(warned) == 2
    assert "No space left" in warned[0]
    assert "goes on" in warned[1]
    assert read(tmp_path).ended == 1e9 + 19
    assert all(path.stat().st_size for path in (tmp_path / "segments").iterdir())


def test_what_is_no_recording_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RecordingError, match="holds something else"):
        Recorder(tmp_path, most=LEAST, interval=1.0, namespace="x", warn=print)
    (tmp_path / "segments").mkdir()
    with pytest.raises(RecordingError, match="no reading"):
        read(tmp_path)


def test_foreign_files_are_bounded_and_links_are_not_followed(tmp_path: Path) -> None:
    """A pipe, a device and a bomb under our names: none hangs or fills memory."""
    segments = tmp_path / "segments"
    segments.mkdir()
    os.mkfifo(segments / "00000001.jsonl")
    (segments / "00000002.jsonl").symlink_to("/dev/zero")
    (segments / "00000003.jsonl.gz").write_bytes(gzip.compress(bytes(30 << 20)))
    (segments / "00000004.jsonl").write_bytes(
        b'{"kind":"tick","t":1e999,"values":{}}\n[' + b"[" * 5000
    )
    (segments / "00000005.jsonl").write_bytes(b"\xff\xfe\n{}\n" + b'{"kind":"head"}\n')
    with pytest.raises(RecordingError, match="no reading"):
        read(tmp_path)


def test_courses_thin_themselves_and_lose_no_peak() -> None:
    course = Course(1.0)
    for t in range(100_000):
        course.add(float(t), 7.0 if t == 61_234 else 1.0)
    points = course.points()
    assert len(points) <= POINTS
    assert course.peak == (7.0, 61_234.0)
    assert max(most for *_, most in points) == 7.0
    assert {least for _, _, least, _ in points} == {1.0}


def gauge(value: int, name: str = "sockstat_TCP_tw") -> Gauge:
    return Gauge(name, "TIME_WAIT sockets", value, 100)


def test_marks_are_told_of_once_until_well_below() -> None:
    marks = Marks()
    told = []
    for t, value in enumerate([10, 49, 51, 49, 52, 85, 100, 95, 46, 44, 60]):
        told += [(m.began, m.text) for m in marks.take(float(t), {}, [gauge(value)], None, {})]
    assert told == [
        (True, "TIME_WAIT sockets: 50% used (51 of 100)"),
        (True, "TIME_WAIT sockets: 80% used (85 of 100)"),
        (True, "TIME_WAIT sockets: 100% used (100 of 100)"),
        (False, "TIME_WAIT sockets: below 80% again (46 of 100)"),
        (False, "TIME_WAIT sockets: below 100% again (46 of 100)"),
        (False, "TIME_WAIT sockets: below 50% again (44 of 100)"),
        (True, "TIME_WAIT sockets: 50% used (60 of 100)"),
    ]


def test_failures_begin_and_end() -> None:
    marks = Marks()
    told = []
    for t, drops in [(0, 5), (1, 5), (2, 9), (3, 12), (40, 12), (62, 12), (63 + QUIET, 12)]:
        found = marks.take(float(t), {"netstat_TcpExt_ListenDrops": drops}, [], None, {})
        told += [(m.time, m.began, m.text) for m in found]
    assert told == [
        (2.0, True, "listener drops: 4 at once"),
        (63.0 + QUIET, False, "listener drops: none for a minute, 7 in all"),
    ]


def test_slow_and_failing_searches_and_changed_settings() -> None:
    marks = Marks()
    quick, slow, full = (
        who(Census({ONE: Held(count)}), Memory(), RULES, None, None)
        for count in (5, 14_200, 28_232)
    )
    told = []
    for found in (quick, slow, slow, full, quick):
        told += [m.text for m in marks.take(0.0, {}, [], found, SYSCTLS)]
    assert told == [
        "connect() toward 10.0.0.5:11211 from 10.0.0.1 is slow: 14,200 of 28,232 ports held",
        "connect() toward 10.0.0.5:11211 from 10.0.0.1 finds no port: 28,232 of 28,232 ports held",
        "connect() toward 10.0.0.5:11211 from 10.0.0.1 is quick again",
    ]
    (changed,) = marks.take(0.0, {}, [], None, SYSCTLS | {"net.ipv4.tcp_tw_reuse": "1"})
    assert changed.text == "net.ipv4.tcp_tw_reuse: 2 became 1"


def boiled(rates: tuple[float, float] = (500, 250), opened: float = 750) -> Any:
    boiler = Boiler()
    boiler.take(
        Head(
            time=1e9,
            host="h\x1b]0;x\x07",
            namespace="web1",
            kernel="6.18.1",
            interval=1.0,
            sysctls=SYSCTLS,
        )
    )
    for t in range(30):
        values: dict[str, Any] = {
            "netstat_Tcp_ActiveOpens": int(opened * t), "ephemeral_ports_in_use": 500 * t,
            "ephemeral_ports_limit": 28_232, "netstat_TcpExt_ListenDrops": max(0, t - 20),
        }  # fmt: skip
        boiler.take(Tick(t=t, values=values))
    boiler.take(Use(t=29, who=using(*rates)))
    boiler.take(
        Moment(time=1e9 + 21, name="x", began=True, text="listener drops: <b>1</b> at once")
    )
    return boiler.found


def test_the_report_and_its_page() -> None:
    found = boiled()
    told = report.tell(found)
    text = report.text(told, "index.html")
    assert "2001-09-09 01:47:01  listener drops" in text
    assert "local ports in use, of the fullest destination: 14,500 of 28,232, 51.4%" in text
    assert "10.0.0.5:11211" in text
    assert "\x1b" not in text
    html = page.render(found, told)
    assert "&lt;b&gt;1&lt;/b&gt;" in html
    assert "<b>1</b>" not in html
    figures = {figure.id: figure for figure in page.plates(found).time}
    assert {"opened", "ports", "failures"} <= figures.keys()
    assert max(v for v in figures["ports"].lines[0].values if v is not None) > 14_000
    # A course that was read at every moment has no hole, one that was not is joined.
    for figure in figures.values():
        for curve in figure.lines:
            assert None not in curve.values[1:29], (figure.id, curve.label)


@pytest.mark.parametrize(("every", "holes"), [(1, 0), (5, 0), (15, 0), (60, 118)])
def test_curves_go_on_between_readings_that_are_not_far_apart(every: int, holes: int) -> None:
    course = Course(1.0)
    for t in range(0, 121, every):
        course.add(float(t), float(t))
    curve = page._line(course, "x", [float(t) for t in range(122)], 0.0)
    assert sum(value is None for value in curve.values[:121]) == holes
    assert curve.values[60] == pytest.approx(60)


@pytest.mark.parametrize(
    ("rates", "opened", "expected"),
    [
        ((500, 250), 750, (750, 1, "client")),
        ((500, 490), 990, (990, 2, "client")),
        ((500, 250), 5_000, (5_000, 1, "server")),
    ],
)
def test_the_load_that_a_plan_is_made_for(
    rates: tuple[float, float], opened: float, expected: tuple[float, int, str]
) -> None:
    """An uneven load counts by its busiest destination; who closes first is read off TIME_WAIT."""
    found = recorded(boiled(rates, opened), rtt=0.001)
    load = found.load
    assert load.rate == pytest.approx(expected[0], rel=0.03)
    assert (load.destinations, load.close) == expected[1:]
    assert (load.sources, found.kernel, found.sysctls) == (1, "6.18.1", SYSCTLS)
    assert not load.tracked


def test_a_recording_without_connections_has_no_plan() -> None:
    with pytest.raises(CapacityError, match="no connection was opened"):
        recorded(replace(boiled(), opened=None), rtt=0.001)


def test_an_hour_of_readings_takes_no_more_memory_than_a_minute() -> None:
    """Of what the reader keeps: stretches, not readings."""

    def size(seconds: int) -> int:
        boiler = Boiler()
        boiler.take(Head(time=0.0, host="h", namespace="n", kernel="6", interval=1.0, sysctls={}))
        for t in range(seconds):
            boiler.take(Tick(t=t, values={"sockstat_TCP_tw": t, "netstat_Tcp_ActiveOpens": t * 9}))
        return sum(len(course.points()) for course in boiler.found.courses.values())

    assert size(3_600) <= 2 * POINTS
    assert size(60) >= 100


def test_lines_are_as_their_kinds_say() -> None:
    data = json.loads(encode(Use(t=1.0, who=using())))
    assert data["kind"] == "use"
    assert decode(b'{"kind":"other"}\n') is None
    assert decode(b"{") is None
    assert msgspec.json.decode(encode(Tick(t=0, values={})), type=dict)["kind"] == "tick"
